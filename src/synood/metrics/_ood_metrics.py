"""The metrics of one ID set against one OOD set, each a pure function of the counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from synood.arrays import is_real
from synood.errors import InputError
from synood.metrics._curve import Counts, Curve, Ranks, Side, curve_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike, NDArray

PrecisionArea = Literal["average_precision", "trapezoid"]
MetricName = Literal["auroc", "aupr_in", "aupr_out", "fpr95", "fpr95_ood_positive"]


@dataclass(frozen=True)
class OODMetrics:
    """The five metrics of one ID set against one OOD set, each a fraction in [0, 1].

    `aupr_in` and `aupr_out` are average precisions with ID and OOD as the positive class. The
    field uses the name FPR95 for both `fpr95` and `fpr95_ood_positive`; see `fpr_at_tpr`.
    """

    auroc: float
    aupr_in: float
    aupr_out: float
    fpr95: float
    fpr95_ood_positive: float


def ood_metrics(id_scores: ArrayLike, ood_scores: ArrayLike, tpr: float = 0.95) -> OODMetrics:
    """Compute all five metrics from one sort.

    Args:
        id_scores: (N,) scores of in-distribution images, higher = more in-distribution; any real
            dtype, infinities allowed.
        ood_scores: (M,) scores of out-of-distribution images.
        tpr: true positive rate at which both false positive rates are read.

    Raises:
        InputError: a side is empty, not one-dimensional, not real or holds NaN; tpr not in (0, 1].

    >>> ood_metrics([0.9, 0.8, 0.4], [0.5, 0.1]).auroc
    0.8333333333333334
    """
    return metrics_of(curve_of(id_scores, ood_scores), checked_rate(tpr))


def auroc(id_scores: ArrayLike, ood_scores: ArrayLike) -> float:
    """Probability that an ID image scores above an OOD image; a tie counts half (Mann-Whitney).

    Computed in integers with one division at the end, so the result is correctly rounded.
    """
    return auroc_of(curve_of(id_scores, ood_scores))


def aupr(
    id_scores: ArrayLike,
    ood_scores: ArrayLike,
    positive: Side = "id",
    method: PrecisionArea = "average_precision",
) -> float:
    """Area under the precision-recall curve.

    Args:
        id_scores: (N,) scores of in-distribution images.
        ood_scores: (M,) scores of out-of-distribution images.
        positive: the positive class.
        method: "average_precision" sums precision over steps of recall (scikit-learn's
            `average_precision_score`; reported by NegLabel and MCM); "trapezoid" interpolates
            linearly, starting at precision 1 (reported by OpenOOD and pytorch-ood). Without ties
            they differ in the fifth digit, with ties by more.
    """
    curve = curve_of(id_scores, ood_scores).with_positive(positive)
    if method == "average_precision":
        return average_precision_of(curve)
    if method == "trapezoid":
        return precision_trapezoid_of(curve)
    raise InputError(f"method: {method!r} is not 'average_precision' or 'trapezoid'")


def fpr_at_tpr(
    id_scores: ArrayLike, ood_scores: ArrayLike, tpr: float = 0.95, positive: Side = "id"
) -> float:
    """False positive rate at the first threshold with a true positive rate of at least `tpr`.

    positive="id" gives the fraction of OOD accepted when `tpr` of ID is accepted, as reported by
    NegLabel, MCM and SynOOD (their code takes the nearest threshold instead of the first).
    positive="ood" gives the fraction of ID rejected when `tpr` of OOD is rejected, as reported by
    OpenOOD and pytorch-ood.
    """
    curve = curve_of(id_scores, ood_scores).with_positive(positive)
    return fpr_of(curve, checked_rate(tpr))


def metrics_of(curve: Curve, tpr: float) -> OODMetrics:
    ood_positive = curve.with_positive("ood")
    return OODMetrics(
        auroc=auroc_of(curve),
        aupr_in=average_precision_of(curve),
        aupr_out=average_precision_of(ood_positive),
        fpr95=fpr_of(curve, tpr),
        fpr95_ood_positive=fpr_of(ood_positive, tpr),
    )


def auroc_of(curve: Curve) -> float:
    # Twice the number of positives above each negative, a tie counting one: exact integers.
    doubled_wins = 2 * curve.tps - curve.positive
    return int(np.sum(curve.negative * doubled_wins)) / (2 * curve.n_positive * curve.n_negative)


def _precision(curve: Curve) -> NDArray[np.float64]:
    """Precision at each distinct score."""
    accepted = np.maximum(curve.tps + curve.fps, 1)  # a resample may lack the top scores
    precision: NDArray[np.float64] = curve.tps / accepted
    return precision


def average_precision_of(curve: Curve) -> float:
    return float(np.sum(curve.positive * _precision(curve))) / curve.n_positive


def precision_trapezoid_of(curve: Curve) -> float:
    after = _precision(curve)
    before = np.append(1.0, after[:-1])
    return float(np.sum(curve.positive * (before + after))) / (2 * curve.n_positive)


def fpr_of(curve: Curve, tpr: float) -> float:
    at = np.searchsorted(curve.tps, least_count(curve.n_positive, tpr))
    return int(curve.fps[at]) / curve.n_negative


def least_count(n: int, tpr: float) -> int:
    """Return the smallest number of samples, at least one, that is `tpr` or more of `n`.

    >>> least_count(20, 0.95), least_count(100, 0.07)
    (19, 7)
    """
    needed = max(1, round(tpr * n))
    while needed / n < tpr:  # the division a reader would make, so 19 of 20 are 0.95
        needed += 1
    return needed


METRICS: Mapping[str, Callable[[Curve, float], float]] = {
    "auroc": lambda curve, _: auroc_of(curve),
    "aupr_in": lambda curve, _: average_precision_of(curve),
    "aupr_out": lambda curve, _: average_precision_of(curve.with_positive("ood")),
    "fpr95": fpr_of,
    "fpr95_ood_positive": lambda curve, tpr: fpr_of(curve.with_positive("ood"), tpr),
}  # how to compute one field of OODMetrics alone


def resampled_metric(
    ranks: Ranks, metric: str, id_indices: Counts, ood_indices: Counts, tpr: float = 0.95
) -> float:
    """Compute one field of `OODMetrics` on a resample; many resamples share one `Ranks`."""
    return METRICS[metric](ranks.resampled(id_indices, ood_indices), tpr)


def checked_rate(tpr: float) -> float:
    """Return `tpr`; an `InputError` unless it is above 0 and at most 1."""
    if not is_real(tpr) or not 0.0 < tpr <= 1.0:
        raise InputError(f"tpr: must be above 0 and at most 1 (0.95, not 95), not {tpr!r}")
    return float(tpr)
