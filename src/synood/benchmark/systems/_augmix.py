"""AugMix: an image mixed with chains of simple distortions of itself.

Hendrycks et al., ICLR 2020, algorithm 1; operations, strengths and defaults are those of the
authors' augment_and_mix.py and augmentations.py (google-research/augmix).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from collections.abc import Callable

    Operation = Callable[[Image.Image, float, np.random.Generator], Image.Image]

SEVERITY, WIDTH, DEPTHS, ALPHA = 3.0, 3, (1, 2, 3), 1.0
_WHOLE = 10.0  # the level at which an operation has its full strength


def augmented(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return one AugMix view of an RGB image, of the same size."""
    weights = rng.dirichlet([ALPHA] * WIDTH)
    kept = float(rng.beta(ALPHA, ALPHA))
    mixed = np.zeros((image.height, image.width, 3))
    for weight in weights:
        chained = image
        for _ in range(int(rng.choice(DEPTHS))):
            operation = OPERATIONS[int(rng.integers(len(OPERATIONS)))]
            chained = operation(chained, float(rng.uniform(0.1, SEVERITY)), rng)
        mixed += weight * np.asarray(chained, np.float64)
    whole = (1 - kept) * np.asarray(image, np.float64) + kept * mixed
    return Image.fromarray(whole.round().clip(0, 255).astype(np.uint8))


def _signed(strength: float, rng: np.random.Generator) -> float:
    return strength if rng.uniform() < 0.5 else -strength


def _autocontrast(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    return ImageOps.autocontrast(image)


def _equalize(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    return ImageOps.equalize(image)


def _posterize(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    return ImageOps.posterize(image, 4 - int(level * 4 / _WHOLE))


def _solarize(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    return ImageOps.solarize(image, 256 - int(level * 256 / _WHOLE))


def _rotate(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    degrees = _signed(int(level * 30 / _WHOLE), rng)
    return image.rotate(degrees, resample=Image.Resampling.BILINEAR)


def _moved(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    affine = Image.Transform.AFFINE
    return image.transform(image.size, affine, matrix, resample=Image.Resampling.BILINEAR)


def _shear_x(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    return _moved(image, (1, _signed(level * 0.3 / _WHOLE, rng), 0, 0, 1, 0))


def _shear_y(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    return _moved(image, (1, 0, 0, _signed(level * 0.3 / _WHOLE, rng), 1, 0))


def _translate_x(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    pixels = _signed(int(level * (image.width / 3) / _WHOLE), rng)
    return _moved(image, (1, 0, pixels, 0, 1, 0))


def _translate_y(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    pixels = _signed(int(level * (image.height / 3) / _WHOLE), rng)
    return _moved(image, (1, 0, 0, 0, 1, pixels))


OPERATIONS: tuple[Operation, ...] = (
    *(_autocontrast, _equalize, _posterize, _rotate, _solarize),
    *(_shear_x, _shear_y, _translate_x, _translate_y),
)
