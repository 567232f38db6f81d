"""Jigsaws have the pieces of their image, in another order, and the same ones for a seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synood.errors import InputError
from synood.synthesis.jigsaw import jigsaw


def pieces(image, grid):
    size = len(image) // grid
    return [
        image[y * size : (y + 1) * size, x * size : (x + 1) * size].tobytes()
        for y in range(grid)
        for x in range(grid)
    ]


@given(st.integers(2, 5), st.integers(1, 4), st.integers(0, 2**63 - 1))
def test_a_jigsaw_has_the_same_pieces_in_another_order(grid, piece, seed):
    size = grid * piece
    image = np.arange(size * size * 3).reshape(size, size, 3).astype(np.uint8)
    image[..., 0] = np.arange(size * size).reshape(size, size)
    shuffled = jigsaw(image, grid, seed)
    assert shuffled.shape == image.shape
    assert sorted(pieces(shuffled, grid)) == sorted(pieces(image, grid))
    assert (shuffled == jigsaw(image, grid, seed)).all()
    if len(set(pieces(image, grid))) == grid * grid:
        assert pieces(shuffled, grid) != pieces(image, grid)


def test_jigsaws_of_other_seeds_differ():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert len({jigsaw(image, 4, seed).tobytes() for seed in range(20)}) == 20


@pytest.mark.parametrize(("size", "grid"), [(10, 4), (8, 1), (8, 0)])
def test_a_grid_that_does_not_fit_is_refused(size, grid):
    with pytest.raises(InputError, match="jigsaw"):
        jigsaw(np.zeros((size, size, 3), np.uint8), grid, 0)
