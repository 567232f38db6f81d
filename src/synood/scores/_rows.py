"""What all scores share: input checks, blocks of rows, unit length, cosines, softmax."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from synood.arrays import to_numpy
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike, NDArray

ROWS = 512  # images in a block; with 10,000 labels a block takes 20 MB
CACHED = 2**17  # values in a block that is to stay in the cache: half a megabyte


def cosine_similarity(image_features: ArrayLike, text_features: ArrayLike) -> NDArray[np.float32]:
    """Cosine similarities of (N, D) image and (C, D) text features: (N, C) in [-1, 1]."""
    images = normalise(image_features, "image_features")
    texts = normalise(text_features, "text_features")
    check_widths(images, texts, "image_features", "text_features")
    cosines: NDArray[np.float32] = np.clip(images @ texts.T, -1.0, 1.0)
    return cosines


def normalise(features: ArrayLike, name: str = "features") -> NDArray[np.float32]:
    """Scale the rows of (N, D) features to unit length; refuse a zero or non-finite row."""
    rows = checked(features, name)
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    usable = np.isfinite(lengths) & (lengths > 0.0)
    if not usable.all():
        row = int(np.argmin(usable))
        raise InputError(f"{name}: row {row} has length {lengths[row]} and thus no direction")
    unit = np.empty(rows.shape, np.float32)
    np.divide(rows, lengths[:, None], out=unit, casting="same_kind")
    return unit


def max_softmax(block: NDArray[Any], temperature: float) -> NDArray[Any]:
    """Largest probability of each row's softmax: (B, C) -> (B,)."""
    shifted = (block - block.max(axis=1, keepdims=True)) / temperature
    probability: NDArray[Any] = 1.0 / np.exp(shifted).sum(axis=1)
    return probability


def logsumexp(block: NDArray[Any], temperature: float) -> NDArray[Any]:
    """T * logsumexp(row / T) of each row: (B, C) -> (B,)."""
    top = block.max(axis=1, keepdims=True)
    total = np.exp((block - top) / temperature).sum(axis=1)
    result: NDArray[Any] = top[:, 0] + temperature * np.log(total)
    return result


def by_rows(
    values: NDArray[Any], score: Callable[[NDArray[Any]], NDArray[Any]]
) -> NDArray[np.float32]:
    """Apply `score` to blocks of rows and join the results; refuse a row that gives NaN."""
    scores = np.empty(len(values), np.float32)
    with np.errstate(all="ignore"):  # exp may underflow to 0; NaN is found in the result
        for rows in blocks(len(values)):
            scores[rows] = score(values[rows])
    return without_nan(scores, "input")


def blocks(n: int, width: int | None = None) -> Iterator[slice]:
    """Slices of at most `ROWS` rows that cover `n` rows; given their width, such as a cache holds.

    Work of several passes over a block is then done without fetching it from memory each time.
    """
    step = ROWS if width is None else min(ROWS, max(1, CACHED // width))
    return (slice(start, start + step) for start in range(0, n, step))


def without_nan(scores: NDArray[Any], source: str) -> NDArray[Any]:
    """Return the scores; refuse NaN, which comes from NaN or infinity in the input."""
    missing = np.isnan(scores)
    if missing.any():
        raise InputError(f"{source}: row {int(np.argmax(missing))} holds NaN or infinity")
    return scores


def checked(values: ArrayLike, name: str) -> NDArray[Any]:
    """Return (rows, columns) real values as float32 or float64."""
    array = to_numpy(values, name)
    if array.ndim != 2 or array.shape[1] == 0:
        raise InputError(f"{name}: shape {array.shape} is not (rows, columns)")
    if array.dtype.kind not in "iuf":
        raise InputError(f"{name}: dtype {array.dtype} is not real")
    single = array.dtype in (np.float16, np.float32)
    return array.astype(np.float32 if single else np.float64, copy=False)


def check_widths(a: NDArray[Any], b: NDArray[Any], name_a: str, name_b: str) -> None:
    if a.shape[1] != b.shape[1]:
        raise InputError(
            f"{name_a}: {a.shape[1]} columns, but {name_b} have {b.shape[1]};"
            " both must come from one encoder"
        )


def check_temperature(temperature: float) -> None:
    if not 1e-30 < temperature < math.inf:  # refuses NaN and what single precision rounds to 0
        raise InputError(f"temperature: {temperature} is not a positive number")
