"""What all scores share: checked input, blocks of rows, unit length, cosines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike, NDArray

ROWS = 512  # a block of images; 10,000 labels then take 20 MB


def cosine_similarity(image_features: ArrayLike, text_features: ArrayLike) -> NDArray[np.float32]:
    """Cosines of (N, D) image and (C, D) text features of any length: (N, C) in [-1, 1]."""
    images = normalise(image_features, "image_features")
    texts = normalise(text_features, "text_features")
    check_widths(images, texts, "image_features", "text_features")
    cosines: NDArray[np.float32] = np.clip(images @ texts.T, -1.0, 1.0)
    return cosines


def normalise(features: ArrayLike, name: str = "features") -> NDArray[np.float32]:
    """Scale the rows of (N, D) features to unit length; a zero or non-finite row is refused."""
    rows = checked(features, name)
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    usable = np.isfinite(lengths) & (lengths > 0.0)
    if not usable.all():
        row = int(np.argmin(usable))
        raise InputError(f"{name}: row {row} has length {lengths[row]}; it has no direction")
    unit = np.empty(rows.shape, np.float32)
    np.divide(rows, lengths[:, None], out=unit, casting="same_kind")
    return unit


def top_probability(block: NDArray[Any], temperature: float) -> NDArray[Any]:
    away = (block - block.max(axis=1, keepdims=True)) / temperature
    probability: NDArray[Any] = 1.0 / np.exp(away).sum(axis=1)
    return probability


def soft_maximum(block: NDArray[Any], temperature: float) -> NDArray[Any]:
    top = block.max(axis=1, keepdims=True)
    total = np.exp((block - top) / temperature).sum(axis=1, keepdims=True)
    soft: NDArray[Any] = top + temperature * np.log(total)
    return soft


def by_rows(
    values: NDArray[Any], score: Callable[[NDArray[Any]], NDArray[Any]]
) -> NDArray[np.float32]:
    scores = np.empty(len(values), np.float32)
    with np.errstate(all="ignore"):  # a vanishing exp is right here; NaN shows in the result
        for rows in blocks(len(values)):
            scores[rows] = score(values[rows])
    return without_nan(scores, "input")


def blocks(n: int) -> Iterator[slice]:
    return (slice(start, start + ROWS) for start in range(0, n, ROWS))


def without_nan(scores: NDArray[np.float32], source: str) -> NDArray[np.float32]:
    bad = np.isnan(scores)
    if bad.any():
        raise InputError(f"{source}: row {int(np.argmax(bad))} holds NaN or infinity")
    return scores


def checked(values: ArrayLike, name: str) -> NDArray[Any]:
    """Return (rows, columns) real values as float32 or float64."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: not an array of numbers ({error})") from None
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
    if not 1e-30 < temperature < math.inf:  # also refuses NaN, and what is 0 in single precision
        raise InputError(f"temperature: {temperature} is not a positive number")
