"""How far a metric would move with other images: bootstrap and DeLong intervals."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, fields
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from synood.errors import InputError
from synood.metrics._curve import Counts, Curve, curve_of
from synood.metrics._ood_metrics import (
    OODMetrics,
    auroc_of,
    checked_rate,
    metrics_of,
    precision_trapezoid_of,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class FullMetrics:
    """The five metrics, both trapezoid areas under precision-recall curves, DeLong's interval.

    `auroc_interval` is None where a side has one score, for which there is no variance.
    """

    metrics: OODMetrics
    aupr_in_trapezoid: float
    aupr_out_trapezoid: float
    auroc_interval: tuple[float, float] | None


def full_metrics(
    id_scores: ArrayLike, ood_scores: ArrayLike, tpr: float = 0.95, level: float = 0.95
) -> FullMetrics:
    """Compute everything that needs no resampling, from one sort.

    Arguments and errors are those of `ood_metrics`; `level` is that of `delong_interval`.
    """
    curve, upper = curve_of(id_scores, ood_scores), tails(level)[1]
    return FullMetrics(
        metrics_of(curve, checked_rate(tpr)),
        precision_trapezoid_of(curve),
        precision_trapezoid_of(curve.with_positive("ood")),
        _delong_interval(curve, upper) if _has_variance(curve) else None,
    )


def bootstrap_interval(
    id_scores: ArrayLike,
    ood_scores: ArrayLike,
    resamples: int = 200,
    seed: int = 0,
    level: float = 0.95,
    tpr: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals of all five metrics: name -> (low, high).

    Each side is resampled with replacement, keeping its size. Nothing is sorted again: a resample
    only changes the count of each distinct score. The result depends on the scores and the seed,
    not on the order of the scores.
    """
    if resamples < 1:
        raise InputError(f"resamples: {resamples} is below 1")
    curve = curve_of(id_scores, ood_scores)
    rate, quantiles = checked_rate(tpr), tails(level)
    rng = np.random.default_rng(seed)
    sides = [np.repeat(np.arange(side.size), side) for side in (curve.positive, curve.negative)]
    size = curve.positive.size
    drawn = [
        astuple(metrics_of(Curve(*(_resample(ranks, size, rng) for ranks in sides)), rate))
        for _ in range(resamples)
    ]
    low, high = np.quantile(np.array(drawn), quantiles, axis=0).tolist()
    names = [field.name for field in fields(OODMetrics)]
    return dict(zip(names, zip(low, high, strict=True), strict=True))


def delong_interval(
    id_scores: ArrayLike, ood_scores: ArrayLike, level: float = 0.95
) -> tuple[float, float]:
    """Confidence interval (low, high) of the AUROC after DeLong, DeLong and Clarke-Pearson, 1988.

    The normal interval around the AUROC with the variance of its placements, clipped to [0, 1].
    Each side needs two scores; a perfect ranking has no variance, so its interval is a point.
    """
    curve = curve_of(id_scores, ood_scores)
    if not _has_variance(curve):
        raise InputError("delong_interval: each side needs at least two scores")
    return _delong_interval(curve, tails(level)[1])


def _has_variance(curve: Curve) -> bool:
    return min(curve.n_positive, curve.n_negative) >= 2


def _delong_interval(curve: Curve, upper: float) -> tuple[float, float]:
    centre = auroc_of(curve)
    margin = NormalDist().inv_cdf(upper) * math.sqrt(_delong_variance(curve))
    return max(0.0, centre - margin), min(1.0, centre + margin)


def _resample(ranks: Counts, size: int, rng: np.random.Generator) -> Counts:
    """Draw as many samples as there are `ranks`, with replacement, and count them per rank."""
    return np.bincount(ranks[rng.integers(0, ranks.size, ranks.size)], minlength=size)


def placements(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Placement of a positive and of a negative at each distinct score (DeLong et al., 1988).

    A positive's is the fraction of negatives below it, a negative's the fraction of positives
    above it; ties count half.
    """
    n, m = curve.n_positive, curve.n_negative
    of_positives = (2 * (m - curve.fps) + curve.negative) / (2 * m)
    of_negatives = (2 * curve.tps - curve.positive) / (2 * n)
    return of_positives, of_negatives


def _delong_variance(curve: Curve) -> float:
    """Variance of the AUROC: of the placements of positives and of negatives, each over its n."""
    n, m = curve.n_positive, curve.n_negative
    of_positives, of_negatives = placements(curve)
    centre = auroc_of(curve)
    variance_positives = float(np.sum(curve.positive * (of_positives - centre) ** 2)) / (n - 1)
    variance_negatives = float(np.sum(curve.negative * (of_negatives - centre) ** 2)) / (m - 1)
    return variance_positives / n + variance_negatives / m


def tails(level: float) -> tuple[float, float]:
    """Return the two quantiles that enclose the middle `level` of a distribution."""
    if not 0.0 < level < 1.0:
        raise InputError(f"level: {level} is not in (0, 1)")
    return (1.0 - level) / 2.0, (1.0 + level) / 2.0
