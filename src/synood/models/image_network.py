"""The image side of an encoder as one torch module, from pixels in [0, 1] to features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from synood.errors import InputError
from synood.models.dual import DualEncoder
from synood.models.towers import ImageTower

if TYPE_CHECKING:
    from synood.images.presets import Preprocess
    from synood.models.clip import ImageTextEncoder


class ImageNetwork(nn.Module):
    """Pixels (N, 3, S, S) in [0, 1] -> features (N, D), both float32, as `encode_images` has them.

    `preprocess` resizes and cuts images to S x S; the module itself normalises.
    """

    def __init__(self, encoder: DualEncoder | ImageTower) -> None:
        super().__init__()
        self.network = encoder.image_side()
        self.preprocess: Preprocess = encoder.preprocess
        self._features = encoder.features_of

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels (N, 3, S, S) to features (N, D)."""
        return self._features(pixels)


def image_network(encoder: ImageTextEncoder) -> ImageNetwork:
    """Return the image side of `encoder` in single precision on the CPU.

    An encoder that does not say how its images are preprocessed, or is none of this package's, is
    an `InputError` that names it.
    """
    if not isinstance(encoder, DualEncoder | ImageTower):
        raise InputError(
            f"encoder {encoder.name!r}: cannot be exported, only encoders that bring every image "
            "to one size can"
        )
    return ImageNetwork(encoder.in_single_precision()).eval().requires_grad_(False)
