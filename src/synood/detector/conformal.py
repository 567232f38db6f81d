"""Split conformal inference: thresholds and p-values that hold for every number of images.

All of it supposes that calibration images and new in-distribution images are exchangeable, as when
both are drawn from one source. Then the rank of a new score among those of n calibration images is
uniform, whatever the score and whatever n (Vovk et al., Algorithmic Learning in a Random World,
2005; for outliers, Bates et al., Annals of Statistics 51, 2023).
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from synood.arrays import to_numpy
from synood.errors import InputError
from synood.metrics import checked_rate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Doubles = NDArray[np.float64]

SLACK = 1e-12  # p-values are fractions of whole numbers: a rounding must not undo an equality


def conformal_rank(count: int, tpr: float) -> int:
    """Return k: the k-th smallest of `count` scores is the threshold that keeps at least `tpr`.

    k = floor((count + 1) (1 - tpr)), in exact arithmetic of `tpr` as it is written; 0 means that
    no finite threshold keeps so much on average.

    >>> conformal_rank(19, 0.95), conformal_rank(18, 0.95), conformal_rank(9, 0.9)
    (1, 0, 1)
    """
    return math.floor((count + 1) * _rejected(tpr))


def images_needed(tpr: float) -> int:
    """Return the least number of calibration images for which a finite threshold exists.

    Raises `InputError` for a `tpr` of 1, which no number of images is enough for.

    >>> images_needed(0.95), images_needed(0.9), images_needed(0.5)
    (19, 9, 1)
    """
    rejected = _rejected(tpr)
    if not rejected:
        raise InputError(
            "tpr: no threshold keeps every new image, however many were seen; give less than 1"
        )
    return math.ceil(1 / rejected) - 1


def check_enough(count: int, tpr: float) -> None:
    """Raise an `InputError` that says how many images are needed unless `count` are enough."""
    needed = images_needed(tpr)
    if count < needed:
        raise InputError(
            f"calibration: {count} images are too few for a threshold that keeps {100 * tpr:g} % "
            f"of new ones; at least {needed:,} are needed"
        )


def p_values(calibration: ArrayLike, scores: ArrayLike) -> Doubles:
    """Return (1 + #{calibration <= s}) / (n + 1) for each s of `scores`: (N,) in (0, 1].

    `calibration` are the n in-distribution scores, ascending. A new image of the same kind has a
    p-value of at most a with a probability of at most a. NaN is an `InputError`.

    >>> p_values([1.0, 2.0, 3.0], [0.5, 2.0, 9.0])
    array([0.25, 0.75, 1.  ])
    """
    known = to_numpy(calibration, "calibration").astype(np.float32, copy=False)
    values = to_numpy(scores, "scores").astype(np.float32, copy=False)
    if np.isnan(values).any():
        raise InputError("scores: hold NaN, which has no p-value")
    below: NDArray[Any] = np.searchsorted(known, values, side="right")
    return (1.0 + below) / (len(known) + 1)


def benjamini_hochberg(p_values: ArrayLike, rate: float) -> NDArray[np.bool_]:
    """Return which of (N,) p-values are discoveries, at a false discovery rate of at most `rate`.

    The i smallest are, for the largest i whose i-th smallest is at most i * rate / N (Benjamini and
    Hochberg, J. R. Stat. Soc. B 57, 1995). Conformal p-values of one calibration set depend on
    each other so that the bound still holds (Bates et al., 2023, theorem 2). Raises `InputError`
    for a p-value outside [0, 1] and for a rate that is not in (0, 1).

    >>> benjamini_hochberg([0.01, 0.9, 0.04, 0.03], 0.05).tolist()
    [True, False, False, False]
    """
    values = to_numpy(p_values, "p-values").astype(np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise InputError("p-values: must be a line of numbers from 0 to 1")
    checked_false_discovery_rate(rate)
    ascending = np.sort(values)
    limits = rate * np.arange(1, len(values) + 1) / max(1, len(values)) * (1 + SLACK)
    found = np.flatnonzero(ascending <= limits)
    last = ascending[found[-1]] if len(found) else -1.0
    discoveries: NDArray[np.bool_] = values <= last
    return discoveries


def checked_false_discovery_rate(rate: float) -> float:
    """Return `rate`; an `InputError` unless it lies between 0 and 1."""
    if not isinstance(rate, float | int) or not 0.0 < rate < 1.0:
        raise InputError(f"fdr: must be between 0 and 1 (0.05, not 5), not {rate!r}")
    return float(rate)


def kept_interval(count: int, rank: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of the fraction of new images kept by the `rank`-th smallest of `count` scores.

    Over calibration sets that fraction is distributed as Beta(count + 1 - rank, rank), exactly for
    scores without ties (Vovk, Asian Conference on Machine Learning, 2012); with ties more is kept.

    >>> [round(end, 3) for end in kept_interval(100, 5)]
    [0.901, 0.984]
    """
    tail = (1.0 - level) / 2
    return 1.0 - _quantile(count, rank, 1 - tail), 1.0 - _quantile(count, rank, tail)


def chance_of_keeping(count: int, rank: int, kept: int, images: int) -> float:
    """Probability that the `rank`-th smallest of `count` scores keeps at most `kept` of new images.

    Of `images` new ones of the same kind, the number kept is beta-binomial: a calibration may be
    unlucky, and so may the new images. Small values say that they are of another kind.

    >>> [round(chance_of_keeping(n, n // 20, 172, 200), 3) for n in (20, 1000)]
    [0.057, 0.0]
    """
    places = np.arange(kept + 1)
    high, low = count + 1 - rank, rank  # of the beta distribution of the fraction kept
    lgamma = np.vectorize(math.lgamma, otypes=[np.float64])
    logarithms = (
        math.lgamma(images + 1)
        - lgamma(places + 1)
        - lgamma(images - places + 1)
        + lgamma(places + high)
        + lgamma(images - places + low)
        - math.lgamma(images + high + low)
        + math.lgamma(high + low)
        - math.lgamma(high)
        - math.lgamma(low)
    )
    return float(min(1.0, np.exp(logarithms).sum()))


def _quantile(count: int, rank: int, probability: float) -> float:
    """Quantile of the `rank`-th smallest of `count` uniform numbers, by halving."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _chance(count, rank, middle) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _chance(count: int, rank: int, place: float) -> float:
    """Probability that at least `rank` of `count` uniform numbers are at most `place`."""
    fewer = np.arange(rank)
    ways = np.concatenate([[0.0], np.cumsum(np.log((count - fewer[:-1]) / (fewer[:-1] + 1)))])
    powers = fewer * math.log(place) + (count - fewer) * math.log1p(-place)
    return 1.0 - float(np.exp(ways + powers).sum())


def _rejected(tpr: float) -> Fraction:
    """1 - tpr, of the decimal number that was written: 0.1 for 0.9, not 0.09999999999999998."""
    return 1 - Fraction(repr(checked_rate(tpr)))
