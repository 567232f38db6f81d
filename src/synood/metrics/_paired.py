"""Is one method better than another on the same images? Tests that use the pairing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

import numpy as np

from synood.errors import InputError
from synood.metrics._curve import places_of
from synood.metrics._figures import FIGURES, checked_rate, redrawn_figure
from synood.metrics._intervals import placements, tails

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Sides = tuple[ArrayLike, ArrayLike]

Figure = Literal["auroc", "aupr_in", "aupr_out", "fpr95", "fpr95_ood_positive"]


@dataclass(frozen=True)
class PairedTest:
    """The difference of a figure between two methods on the same images.

    `difference` is the first method's figure less the second's, in the figure's own direction: a
    lower FPR95 of the first is negative. `low` and `high` bound it; `p_value` is two-sided, for
    the hypothesis that the methods are equal.
    """

    difference: float
    low: float
    high: float
    p_value: float


def delong_test(first: Sides, second: Sides, level: float = 0.95) -> PairedTest:
    """Compare two AUROCs on the same images after DeLong, DeLong and Clarke-Pearson, 1988.

    Each image's placement (the share of the other side that it beats, ties half) is taken for both
    methods; the variance of the difference of placements gives a normal test of the difference.

    Args:
        first: (N,) scores of ID and (M,) scores of OOD images, by the first method.
        second: by the second method, the same images in the same order.
        level: of the interval.

    Raises:
        InputError: the methods scored other numbers of images, or a side has fewer than two.
    """
    _check_pairs(first, second)
    (id_a, ood_a), (id_b, ood_b) = (_placements(*sides) for sides in (first, second))
    if min(len(id_a), len(ood_a)) < 2:
        raise InputError("delong_test: each side needs at least two scores")
    difference = float(np.mean(id_a) - np.mean(id_b))
    variance = _variance_of_mean(id_a - id_b) + _variance_of_mean(ood_a - ood_b)
    deviation = math.sqrt(variance)
    reach = NormalDist().inv_cdf(tails(level)[1]) * deviation
    if deviation == 0.0:
        p_value = 1.0 if difference == 0.0 else 0.0
    else:
        p_value = math.erfc(abs(difference) / deviation / math.sqrt(2.0))
    return PairedTest(difference, difference - reach, difference + reach, p_value)


def bootstrap_test(
    first: Sides,
    second: Sides,
    figure: Figure = "fpr95",
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    tpr: float = 0.95,
) -> PairedTest:
    """Compare any figure on the same images by a paired percentile bootstrap.

    Each resample draws the same images for both methods. The p-value is twice the smaller share of
    resamples on either side of zero, zero counting on both, with one added to each count so that
    it is never zero (Davison and Hinkley, 1997, §4.2).

    Args:
        first: (N,) ID and (M,) OOD scores by the first method.
        second: by the second method, the same images in the same order.
        figure: a field of `OODMetrics`.
        resamples: number of draws; the p-value is at least 2 / (resamples + 1).
        seed: of the draws.
        level: of the interval.
        tpr: share of the positive class where a false positive rate is read.
    """
    if figure not in FIGURES:
        raise InputError(f"figure: {figure!r} is not one of {', '.join(FIGURES)}")
    if resamples < 1:
        raise InputError(f"resamples: {resamples} is below 1")
    rate, (low, high) = checked_rate(tpr), tails(level)
    _check_pairs(first, second)
    a, b = (places_of(*sides) for sides in (first, second))
    n, m = a.ids.size, a.oods.size
    rng = np.random.default_rng(seed)

    def difference(i: NDArray[np.int64], j: NDArray[np.int64]) -> float:
        return redrawn_figure(a, figure, i, j, rate) - redrawn_figure(b, figure, i, j, rate)

    drawn = np.array(
        [difference(rng.integers(0, n, n), rng.integers(0, m, m)) for _ in range(resamples)]
    )
    below, above = np.quantile(drawn, [low, high]).tolist()
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p_value = min(1.0, 2 * (tail + 1) / (resamples + 1))
    return PairedTest(difference(np.arange(n), np.arange(m)), below, above, p_value)


def _placements(
    id_scores: ArrayLike, ood_scores: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each image's placement, ID and OOD, in the order given."""
    places = places_of(id_scores, ood_scores)
    curve = places.redrawn(np.arange(places.ids.size), np.arange(places.oods.size))
    of_ids, of_oods = placements(curve)
    return of_ids[places.ids], of_oods[places.oods]


def _variance_of_mean(values: NDArray[np.float64]) -> float:
    return float(np.var(values, ddof=1)) / values.size


def _check_pairs(first: Sides, second: Sides) -> None:
    for side, a, b in zip(("id_scores", "ood_scores"), first, second, strict=True):
        sizes = [np.size(values) for values in (a, b)]
        if sizes[0] != sizes[1]:
            raise InputError(
                f"{side}: {sizes[0]} by the first method, {sizes[1]} by the second; both must "
                "score the same images in the same order"
            )
