"""How far a figure would move with other images: bootstrap and DeLong intervals."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, fields
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from synood.errors import InputError
from synood.metrics._curve import Counts, Curve, curve_of
from synood.metrics._figures import (
    OODMetrics,
    auroc_of,
    checked_rate,
    metrics_of,
    precision_trapezoid_of,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Everything:
    """The five figures, the other two areas of the precision-recall curves, DeLong's interval."""

    figures: OODMetrics
    aupr_in_trapezoid: float
    aupr_out_trapezoid: float
    auroc_interval: tuple[float, float]


def everything(
    id_scores: ArrayLike, ood_scores: ArrayLike, tpr: float = 0.95, level: float = 0.95
) -> Everything:
    """Compute all that needs no resampling, from one sort.

    Args and errors are those of `ood_metrics` and `delong_interval`.
    """
    curve = curve_of(id_scores, ood_scores)
    return Everything(
        metrics_of(curve, checked_rate(tpr)),
        precision_trapezoid_of(curve),
        precision_trapezoid_of(curve.seen_from("ood")),
        _delong_of(curve, level),
    )


def bootstrap_interval(
    id_scores: ArrayLike,
    ood_scores: ArrayLike,
    resamples: int = 200,
    seed: int = 0,
    level: float = 0.95,
    tpr: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals of all five figures: name -> (low, high).

    Each side is resampled with replacement, keeping its size. Nothing is sorted again: a resample
    only changes the count of each distinct score. The result depends on the scores and the seed,
    not on the order in which the scores are given.
    """
    if resamples < 1:
        raise InputError(f"resamples: {resamples} is below 1")
    curve = curve_of(id_scores, ood_scores)
    rate, ends = checked_rate(tpr), tails(level)
    rng = np.random.default_rng(seed)
    owners = [np.repeat(np.arange(side.size), side) for side in (curve.positive, curve.negative)]
    size = curve.positive.size
    drawn = [
        astuple(metrics_of(Curve(*(_redraw(owner, size, rng) for owner in owners)), rate))
        for _ in range(resamples)
    ]
    low, high = np.quantile(np.array(drawn), ends, axis=0).tolist()
    names = [field.name for field in fields(OODMetrics)]
    return dict(zip(names, zip(low, high, strict=True), strict=True))


def delong_interval(
    id_scores: ArrayLike, ood_scores: ArrayLike, level: float = 0.95
) -> tuple[float, float]:
    """Confidence interval (low, high) of the AUROC after DeLong, DeLong and Clarke-Pearson, 1988.

    The normal interval around the AUROC with the variance of its placements, clipped to [0, 1].
    It needs two samples a side; a perfect ranking has no variance, so its interval is a point.
    """
    return _delong_of(curve_of(id_scores, ood_scores), level)


def _delong_of(curve: Curve, level: float) -> tuple[float, float]:
    if min(curve.n_positive, curve.n_negative) < 2:
        raise InputError("delong_interval: each side needs at least two scores")
    centre = auroc_of(curve)
    reach = NormalDist().inv_cdf(tails(level)[1]) * math.sqrt(_delong_variance(curve))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def _redraw(owners: Counts, size: int, rng: np.random.Generator) -> Counts:
    """Counts per distinct score of a resample; `owners` names the score of each sample."""
    return np.bincount(owners[rng.integers(0, owners.size, owners.size)], minlength=size)


def placements(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of the other side that a sample at each distinct score is right about, ties half.

    For a positive that is the share of negatives below it, for a negative of positives above it.
    """
    n, m = curve.n_positive, curve.n_negative
    of_positives = (2 * (m - curve.mistaken) + curve.negative) / (2 * m)
    of_negatives = (2 * curve.caught - curve.positive) / (2 * n)
    return of_positives, of_negatives


def _delong_variance(curve: Curve) -> float:
    """Variance of the AUROC: of the placements of positives and of negatives, each over its n."""
    n, m = curve.n_positive, curve.n_negative
    of_positives, of_negatives = placements(curve)
    centre = auroc_of(curve)
    spread_positives = float(np.sum(curve.positive * (of_positives - centre) ** 2)) / (n - 1)
    spread_negatives = float(np.sum(curve.negative * (of_negatives - centre) ** 2)) / (m - 1)
    return spread_positives / n + spread_negatives / m


def tails(level: float) -> tuple[float, float]:
    """Return the two quantiles between which the middle `level` lies."""
    if not 0.0 < level < 1.0:
        raise InputError(f"level: {level} is not in (0, 1)")
    return (1.0 - level) / 2.0, (1.0 + level) / 2.0
