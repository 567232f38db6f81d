"""Why an image has its score: what it is nearest to, in texts and in images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synood import scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

NEAREST = 3  # texts of each kind
BLOCK = 1024  # images at once, so that 50,000 against 10,000 labels take 40 MB


@dataclass(frozen=True)
class Match:
    """A text, and the cosine of an image with it in [-1, 1]."""

    name: str
    cosine: float


@dataclass(frozen=True)
class Explanation:
    """What an image is nearest to, nearest first.

    `classes` and `negatives` are the class names and negative labels of the largest cosines, up to
    three each, compared as the score compares them; equal cosines are in the order of the detector.
    A detector without texts has none of them.
    `image_class` is the nearest class by image evidence, None where the detector has none.
    """

    classes: tuple[Match, ...] = ()
    negatives: tuple[Match, ...] = ()
    image_class: str | None = None


def nearest_texts(
    rows: Floats, text_features: Floats, names: Sequence[str], count: int = NEAREST
) -> list[tuple[Match, ...]]:
    """Return the `count` texts (M, D) of largest cosine for each image (N, D), nearest first.

    The texts are of unit length, as a detector holds them; images may be of any.

    >>> nearest_texts(np.array([[3.0, 4.0]]), np.eye(2), ["east", "north"], 1)
    [(Match(name='north', cosine=0.8),)]
    """
    found, images = [], scores.normalise(rows, "image features")
    for start in range(0, len(rows), BLOCK):
        cosines = np.clip(images[start : start + BLOCK] @ text_features.T, -1.0, 1.0)
        order = _largest(cosines, min(count, len(names)))
        found += [
            tuple(Match(names[i], round(float(row[i]), 6)) for i in best)
            for row, best in zip(cosines, order, strict=True)
        ]
    return found


def _largest(cosines: Floats, count: int) -> NDArray[np.int64]:
    """Return the columns of the `count` largest values of each row, the first of equal ones."""
    width = cosines.shape[1]
    if width <= 8 * count:
        return np.argsort(-cosines, axis=1, kind="stable")[:, :count].astype(np.int64)
    # the smallest of the largest; what equals it is sorted with them, so that the first ones win
    bound = np.partition(cosines, width - count, axis=1)[:, width - count]
    order = np.empty((len(cosines), count), np.int64)
    for number, (row, least) in enumerate(zip(cosines, bound, strict=True)):
        above = np.flatnonzero(row >= least)
        order[number] = above[np.argsort(-row[above], kind="stable")[:count]]
    return order
