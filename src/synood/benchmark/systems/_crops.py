"""Random crops and flips of training images, as few-shot papers draw them in each epoch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    import numpy as np

AREA = (0.08, 1.0)  # fraction of the image: Dassl's and torchvision's defaults
RATIO = (3 / 4, 4 / 3)  # width by height
TRIES = 10


def random_crop(image: Image.Image, side: int, rng: np.random.Generator) -> Image.Image:
    """Cut a part out of an RGB image, resize it to (side, side) and flip it in half of the cases.

    The draws of torchvision's RandomResizedCrop: area uniform, ratio uniform in its logarithm, the
    largest central part of an allowed ratio after ten that do not fit. Bicubic, as CLIP's images.
    """
    left, top, width, height = _box(image.width, image.height, rng)
    box = (left, top, left + width, top + height)
    cut = image.resize((side, side), Image.Resampling.BICUBIC, box=box)
    flip = rng.uniform() < 0.5
    return cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else cut


def _box(width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw left, top, width and height of a part."""
    for _ in range(TRIES):
        area = width * height * rng.uniform(*AREA)
        ratio = math.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1)), w, h
    w = min(width, max(1, round(height * RATIO[1])))
    h = min(height, max(1, round(width / RATIO[0])))
    return (width - w) // 2, (height - h) // 2, w, h
