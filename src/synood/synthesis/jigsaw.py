"""Near-boundary images without an in-painting model: the pieces of an image in another order.

Colours and textures stay, the object does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

GRID = 4  # pieces per side: few pieces have a whole object


def jigsaw(image: Pixels, grid: int, seed: int) -> Pixels:
    """Shuffle the grid x grid pieces of an image (S, S, 3).

    The order is drawn from `seed` and is never the original one. A size that `grid` does not
    divide, or a grid of one piece, is an `InputError`.

    >>> jigsaw(np.zeros((64, 64, 3), np.uint8), 4, seed=0).shape
    (64, 64, 3)
    """
    size = len(image)
    if grid < 2 or size % grid:
        raise InputError(f"jigsaw: {grid} pieces per side do not divide {size} pixels")
    piece = size // grid
    pieces = image.reshape(grid, piece, grid, piece, 3).swapaxes(1, 2)
    pieces = pieces.reshape(grid * grid, piece, piece, 3)
    rng = np.random.default_rng(seed)
    order = rng.permutation(grid * grid)
    while (order == np.arange(grid * grid)).all():
        order = rng.permutation(grid * grid)
    shuffled = pieces[order].reshape(grid, grid, piece, piece, 3).swapaxes(1, 2)
    return np.ascontiguousarray(shuffled.reshape(size, size, 3))
