"""The whole image as a square: what the in-painting model and the guide see of a source image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray


def square(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Resize the whole RGB image to (size, size, 3), without regard to its shape.

    As in the authors' code (datasets.py:77-78).
    """
    return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))


def to_unit_range(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn squares (..., S, S, 3) of bytes into (..., 3, S, S) float32 in [0, 1]."""
    scaled = pixels.astype(np.float32) / np.float32(255)
    return np.ascontiguousarray(np.moveaxis(scaled, -1, -3))
