"""Views of an image: augmented copies, rotated, stretched and recoloured.

A detector seldom sees all the ways a class can look: other cameras, other hands, other paper. Views
cover some of them. They are drawn from the image's content and a number, so the same image always
has the same views.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

VERSION = 1  # raise it with any change below: cached features of views depend on it
LARGEST = 512  # longest side of a view in pixels: more than any encoder here takes
TURN = 20.0  # degrees, either way
STRETCH = 0.35  # log of the ratio of the axes, either way
SHEAR = 0.25
ZOOM = 0.8  # closest
HUE = 32  # of 256, either way
SATURATION = (0.3, 1.5)
GAMMA = (0.6, 1.6)


def view_of(image: Image.Image, content: str, number: int) -> Image.Image:
    """Return view `number` of an RGB image; 0 is the image itself.

    `content` is the SHA-256 of the image's file. A view has the image's shape, its longest side
    at most `LARGEST`. Odd numbers change geometry and colours, even numbers only colours.

    >>> view_of(Image.new("RGB", (64, 48)), "0" * 64, 1).size
    (64, 48)
    """
    if number < 0:
        raise InputError(f"view {number}: views are numbered from 0, the image itself")
    if number == 0:
        return image
    small = image.convert("RGB")
    small.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    rng = np.random.default_rng((int(content[:16], 16), number))
    if number % 2:
        small = _warped(small, rng)
    return _coloured(small, rng)


def _warped(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Rotate, stretch, shear and zoom about the centre; the outside is filled by mirroring."""
    turn, stretch = np.deg2rad(rng.uniform(-TURN, TURN)), np.exp(rng.uniform(-STRETCH, STRETCH))
    shear, zoom = rng.uniform(-SHEAR, SHEAR), rng.uniform(ZOOM, 1.0)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = zoom * rotation @ np.array([[stretch**0.5, shear], [0, stretch**-0.5]])
    width, height = image.size
    pads = (height // 2, width // 2)
    pixels = np.pad(np.asarray(image), [(side, side) for side in pads] + [(0, 0)], "symmetric")
    centre = np.array([pads[1] + width / 2, pads[0] + height / 2])
    corner = centre - matrix @ (np.array([width, height]) / 2)
    (a, b), (d, e) = matrix.tolist()
    affine = (a, b, float(corner[0]), d, e, float(corner[1]))
    whole = Image.fromarray(pixels)
    return whole.transform(image.size, Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)


def _coloured(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Shift the hue, scale the saturation and apply a gamma to the brightness."""
    shift, gamma = int(rng.integers(-HUE, HUE + 1)), rng.uniform(*GAMMA)
    factor = rng.uniform(*SATURATION)
    changes: tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], ...] = (
        lambda hue: (hue + shift) % 256,
        lambda saturation: saturation * factor,
        lambda value: 255 * (value / 255) ** gamma,
    )
    levels = np.arange(256, dtype=np.float64)
    tables = [np.clip(change(levels), 0, 255).astype(int).tolist() for change in changes]
    bands = image.convert("HSV").split()
    changed = [band.point(table) for band, table in zip(bands, tables, strict=True)]
    return Image.merge("HSV", changed).convert("RGB")
