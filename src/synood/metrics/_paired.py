"""Is one method better than another on the same images? Tests that use the pairing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from synood.errors import InputError
from synood.metrics._curve import Ranks, ranks_of
from synood.metrics._intervals import placements, tails
from synood.metrics._ood_metrics import METRICS, MetricName, checked_rate, resampled_metric

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Sides = tuple[ArrayLike, ArrayLike]


@dataclass(frozen=True)
class PairedTest:
    """The difference of a metric between two methods on the same images.

    `difference` is the first method's value minus the second's, so a lower FPR95 of the first is
    negative. `low` and `high` bound it; `p_value` is two-sided, for the hypothesis that the
    methods are equal.
    """

    difference: float
    low: float
    high: float
    p_value: float


def delong_test(first: Sides, second: Sides, level: float = 0.95) -> PairedTest:
    """Compare two AUROCs on the same images after DeLong, DeLong and Clarke-Pearson, 1988.

    The variance of the difference between the methods' placements (see `placements`) gives a
    normal test of the difference between their AUROCs.

    Args:
        first: (N,) scores of ID and (M,) scores of OOD images, by the first method.
        second: by the second method, the same images in the same order.
        level: confidence level of the interval.

    Raises:
        InputError: the methods scored different numbers of images, or a side has fewer than two.
    """
    a, b = _paired_ranks(first, second)
    if min(a.ids.size, a.oods.size) < 2:
        raise InputError("delong_test: each side needs at least two scores")
    (id_a, ood_a), (id_b, ood_b) = _placements(a), _placements(b)
    difference = float(np.mean(id_a) - np.mean(id_b))
    deviation = math.sqrt(_variance_of_mean(id_a - id_b) + _variance_of_mean(ood_a - ood_b))
    margin = NormalDist().inv_cdf(tails(level)[1]) * deviation
    if deviation == 0.0:
        p_value = 1.0 if difference == 0.0 else 0.0
    else:
        p_value = math.erfc(abs(difference) / deviation / math.sqrt(2.0))
    return PairedTest(difference, difference - margin, difference + margin, p_value)


def bootstrap_test(
    first: Sides,
    second: Sides,
    metric: MetricName = "fpr95",
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    tpr: float = 0.95,
) -> PairedTest:
    """Compare any metric on the same images by a paired percentile bootstrap.

    Each resample draws the same images for both methods. The p-value is twice the smaller fraction
    of resamples on either side of zero, zero counting on both, with one added to each count so
    that it is never zero (Davison and Hinkley, 1997, §4.2).

    Args:
        first: (N,) ID and (M,) OOD scores by the first method.
        second: by the second method, the same images in the same order.
        metric: a field of `OODMetrics`.
        resamples: number of draws; the p-value is at least 2 / (resamples + 1).
        seed: of the draws.
        level: confidence level of the interval.
        tpr: true positive rate at which a false positive rate is read.
    """
    if metric not in METRICS:
        raise InputError(f"metric: {metric!r} is not one of {', '.join(METRICS)}")
    if resamples < 1:
        raise InputError(f"resamples: {resamples} is below 1")
    rate, quantiles = checked_rate(tpr), tails(level)
    a, b = _paired_ranks(first, second)
    n, m = a.ids.size, a.oods.size
    rng = np.random.default_rng(seed)

    def difference(i: NDArray[np.int64], j: NDArray[np.int64]) -> float:
        return resampled_metric(a, metric, i, j, rate) - resampled_metric(b, metric, i, j, rate)

    drawn = np.array(
        [difference(rng.integers(0, n, n), rng.integers(0, m, m)) for _ in range(resamples)]
    )
    low, high = np.quantile(drawn, quantiles).tolist()
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p_value = min(1.0, 2 * (tail + 1) / (resamples + 1))
    return PairedTest(difference(np.arange(n), np.arange(m)), low, high, p_value)


def _paired_ranks(first: Sides, second: Sides) -> tuple[Ranks, Ranks]:
    """Rank the scores of both methods, which must have scored as many images on each side."""
    a, b = ranks_of(*first), ranks_of(*second)
    for name, one, other in (("id_scores", a.ids, b.ids), ("ood_scores", a.oods, b.oods)):
        if one.size != other.size:
            raise InputError(
                f"{name}: {one.size} by the first method, {other.size} by the second; both must "
                "score the same images in the same order"
            )
    return a, b


def _placements(ranks: Ranks) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Placement of each ID and each OOD image, in the order of the scores."""
    curve = ranks.resampled(np.arange(ranks.ids.size), np.arange(ranks.oods.size))
    of_ids, of_oods = placements(curve)
    return of_ids[ranks.ids], of_oods[ranks.oods]


def _variance_of_mean(values: NDArray[np.float64]) -> float:
    return float(np.var(values, ddof=1)) / values.size
