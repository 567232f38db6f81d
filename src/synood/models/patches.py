"""Local image features in the space of the texts, for encoders that have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from synood.models.clip import ImageTextEncoder


@runtime_checkable
class PatchEncoder(Protocol):
    """What an image-text encoder has beside its global features, if it can."""

    def encode_image_patches(
        self, images: Sequence[Image.Image], batch_size: int = 64
    ) -> NDArray[np.float32]:
        """Encode RGB images into (N, L, D): L places of each, float32 and not normalised."""


def encode_image_patches(
    encoder: ImageTextEncoder, images: Sequence[Image.Image]
) -> NDArray[np.float32]:
    """Return local features (N, L, D); an encoder that has none is an `InputError` naming it."""
    if not isinstance(encoder, PatchEncoder):
        raise InputError(
            f"encoder {encoder.name!r}: has no features of single places in a picture, which "
            "GL-MCM and LoCoOp compare with the class names; choose a CLIP or a dual encoder"
        )
    return encoder.encode_image_patches(images)
