"""Local image features in the space of the texts, for encoders that have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import torch

from synood.errors import InputError
from synood.models.towers import TowerEncoder, batches

if TYPE_CHECKING:
    from collections.abc import Sequence

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


class PatchTowerEncoder(TowerEncoder):
    """Towers whose image side has a feature for each place: `_patch_features` says how."""

    @torch.no_grad()
    def encode_image_patches(
        self, images: Sequence[Image.Image], batch_size: int = 64
    ) -> NDArray[np.float32]:
        """Encode RGB images into (N, L, D): one feature a place, as GL-MCM reads them."""
        features = []
        for rows in batches(len(images), batch_size):
            batch = np.stack([self.preprocess.apply(images[row]) for row in rows])
            inputs = torch.from_numpy(batch).to(device=self.device, dtype=self._dtype)
            features.append(self._patch_features(inputs).float().cpu().numpy())
        return np.concatenate(features) if features else np.zeros((0, 0, self.dim), np.float32)

    def _patch_features(self, inputs: torch.Tensor) -> torch.Tensor:
        """Preprocessed images (B, 3, S, S) -> (B, L, D)."""
        raise NotImplementedError


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
