"""Patch features: local image features in the joint space of images and texts."""

from __future__ import annotations

from abc import abstractmethod
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
    """An image-text encoder with patch features besides the global ones."""

    def encode_image_patches(
        self, images: Sequence[Image.Image], batch_size: int = 64
    ) -> NDArray[np.float32]:
        """Encode RGB images into (N, L, D): L patches each, float32, not normalised."""


class PatchTowerEncoder(TowerEncoder):
    """An encoder whose image tower has patch features."""

    @torch.no_grad()
    def encode_image_patches(
        self, images: Sequence[Image.Image], batch_size: int = 64
    ) -> NDArray[np.float32]:
        """Encode RGB images into (N, L, D): one feature per patch, as GL-MCM uses them."""
        features = []
        for rows in batches(len(images), batch_size):
            batch = np.stack([self.preprocess.apply(images[row]) for row in rows])
            inputs = torch.from_numpy(batch).to(device=self.device, dtype=self._dtype)
            features.append(self._patch_features(inputs).float().cpu().numpy())
        return np.concatenate(features) if features else np.zeros((0, 0, self.dim), np.float32)

    @abstractmethod
    def _patch_features(self, inputs: torch.Tensor) -> torch.Tensor:
        """Preprocessed images (B, 3, S, S) -> (B, L, D)."""


def encode_image_patches(
    encoder: ImageTextEncoder, images: Sequence[Image.Image]
) -> NDArray[np.float32]:
    """Return patch features (N, L, D); an encoder without them is an `InputError` naming it."""
    if not isinstance(encoder, PatchEncoder):
        raise InputError(
            f"encoder {encoder.name!r}: has no patch features, which "
            "GL-MCM and LoCoOp compare with the class names; choose a CLIP or a dual encoder"
        )
    return encoder.encode_image_patches(images)
