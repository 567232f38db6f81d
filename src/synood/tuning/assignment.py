"""Which negative label each synthetic image belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synood.arrays import to_numpy
from synood.errors import InputError
from synood.scores import cosine_similarity

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_BLOCK = 1024  # rows at once, so that 50,000 images against 10,000 labels take 40 MiB, not 2 GiB


@dataclass(frozen=True)
class Assignment:
    """Which negative label each synthetic image belongs to.

    `used` (M',) are the rows of the negatives that at least one image belongs to, ascending;
    `targets` (m,) index into `used`.
    """

    used: NDArray[np.int64]
    targets: NDArray[np.int64]


def nearest_negative(image_features: ArrayLike, negative_features: ArrayLike) -> NDArray[np.int64]:
    """Return for each image (N, D) the row of the negative (M, D) of highest cosine: (N,).

    Features may be of any length; of equal cosines the first row wins. Class names do not compete
    (authors' code, ood_label_mining.py:9-18 and 45). Raises `InputError` for no negatives.

    >>> nearest_negative([[2, 0], [1, 3]], [[0, 1], [1, 0]])
    array([1, 0])
    """
    images = to_numpy(image_features, "image features").astype(np.float32)
    negatives = to_numpy(negative_features, "negative features").astype(np.float32)
    if negatives.ndim != 2 or len(negatives) == 0:
        raise InputError("negative features: there are none, so no image can be given one")
    nearest = np.zeros(len(images), dtype=np.int64)
    for start in range(0, len(images), _BLOCK):
        block = slice(start, start + _BLOCK)
        nearest[block] = cosine_similarity(images[block], negatives).argmax(axis=1)
    return nearest


def compact(assignment: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows that are used, ascending and once each (M',), and the index into them (N,).

    `used[targets]` is the assignment again.

    >>> used, targets = compact([7, 3, 7])
    >>> used, targets
    (array([3, 7]), array([1, 0, 1]))
    """
    used, targets = np.unique(np.asarray(assignment, dtype=np.int64), return_inverse=True)
    return used, targets.astype(np.int64, copy=False)
