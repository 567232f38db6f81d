"""The figures of one ID set against one OOD set, each a pure function of the counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from synood.errors import InputError
from synood.metrics._curve import Counts, Curve, Places, Side, curve_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike, NDArray

PrecisionArea = Literal["average_precision", "trapezoid"]


@dataclass(frozen=True)
class OODMetrics:
    """The five figures of one ID set against one OOD set, each a fraction in [0, 1].

    `aupr_in` and `aupr_out` are average precisions with ID, respectively OOD, as the positive
    class. The two FPR95s are the field's two readings of one name; see `fpr_at_tpr`.
    """

    auroc: float
    aupr_in: float
    aupr_out: float
    fpr95: float
    fpr95_ood_positive: float


def ood_metrics(id_scores: ArrayLike, ood_scores: ArrayLike, tpr: float = 0.95) -> OODMetrics:
    """Compute all figures from one sort.

    Args:
        id_scores: (N,) scores of in-distribution images, higher = more in-distribution; any real
            dtype, infinities allowed.
        ood_scores: (M,) scores of out-of-distribution images.
        tpr: share of the positive class that must be caught where a false positive rate is read.

    Raises:
        InputError: a side is empty, not one-dimensional, not real or holds NaN; tpr not in (0, 1].
    """
    return metrics_of(curve_of(id_scores, ood_scores), checked_rate(tpr))


def auroc(id_scores: ArrayLike, ood_scores: ArrayLike) -> float:
    """Chance that an ID image scores above an OOD image, a tie counting half (Mann-Whitney).

    Computed in integers and divided once: the result is the exact value, correctly rounded.
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
        positive: the class whose precision and recall are meant.
        method: "average_precision" sums precision over steps of recall (scikit-learn's
            `average_precision_score`; NegLabel and MCM report it); "trapezoid" joins the points
            by lines, starting at precision 1 (OpenOOD and pytorch-ood report it). They differ in
            the fifth digit without ties and more with them.
    """
    curve = curve_of(id_scores, ood_scores).seen_from(positive)
    if method == "average_precision":
        return average_precision_of(curve)
    if method == "trapezoid":
        return precision_trapezoid_of(curve)
    raise InputError(f"method: {method!r} is not 'average_precision' or 'trapezoid'")


def fpr_at_tpr(
    id_scores: ArrayLike, ood_scores: ArrayLike, tpr: float = 0.95, positive: Side = "id"
) -> float:
    """False positive rate at the first threshold that catches at least `tpr` of the positives.

    With positive="id": the share of OOD accepted when `tpr` of ID is kept, the reading of NegLabel,
    MCM and SynOOD (whose codes take the nearest threshold, not the first). With positive="ood": the
    share of ID rejected when `tpr` of OOD is caught, as OpenOOD and pytorch-ood report it.
    """
    curve = curve_of(id_scores, ood_scores).seen_from(positive)
    return fpr_of(curve, checked_rate(tpr))


def metrics_of(curve: Curve, tpr: float) -> OODMetrics:
    mirrored = curve.seen_from("ood")
    return OODMetrics(
        auroc=auroc_of(curve),
        aupr_in=average_precision_of(curve),
        aupr_out=average_precision_of(mirrored),
        fpr95=fpr_of(curve, tpr),
        fpr95_ood_positive=fpr_of(mirrored, tpr),
    )


def auroc_of(curve: Curve) -> float:
    # Twice the positives that beat each negative, a tie counting one: integers, so exact.
    doubled_wins = 2 * curve.caught - curve.positive
    return int(np.sum(curve.negative * doubled_wins)) / (2 * curve.n_positive * curve.n_negative)


def _precision(curve: Curve) -> NDArray[np.float64]:
    """Precision at each distinct score."""
    accepted = np.maximum(curve.caught + curve.mistaken, 1)  # a resample may lack the top scores
    precision: NDArray[np.float64] = curve.caught / accepted
    return precision


def average_precision_of(curve: Curve) -> float:
    return float(np.sum(curve.positive * _precision(curve))) / curve.n_positive


def precision_trapezoid_of(curve: Curve) -> float:
    after = _precision(curve)
    before = np.append(1.0, after[:-1])
    return float(np.sum(curve.positive * (before + after))) / (2 * curve.n_positive)


def fpr_of(curve: Curve, tpr: float) -> float:
    at = np.searchsorted(curve.caught, _needed(curve.n_positive, tpr))
    return int(curve.mistaken[at]) / curve.n_negative


def _needed(n: int, tpr: float) -> int:
    """Smallest number of caught samples, at least one, whose share of `n` is at least `tpr`."""
    needed = max(1, round(tpr * n))
    while needed / n < tpr:  # the division a reader would make, so 19 of 20 are 0.95
        needed += 1
    return needed


FIGURES: Mapping[str, Callable[[Curve, float], float]] = {
    "auroc": lambda curve, _: auroc_of(curve),
    "aupr_in": lambda curve, _: average_precision_of(curve),
    "aupr_out": lambda curve, _: average_precision_of(curve.seen_from("ood")),
    "fpr95": fpr_of,
    "fpr95_ood_positive": lambda curve, tpr: fpr_of(curve.seen_from("ood"), tpr),
}  # how to compute one field of OODMetrics alone


def redrawn_figure(
    places: Places, figure: str, id_picks: Counts, ood_picks: Counts, tpr: float = 0.95
) -> float:
    """One field of `OODMetrics` on picked images; the places are found once for many draws."""
    return FIGURES[figure](places.redrawn(id_picks, ood_picks), tpr)


def checked_rate(tpr: float) -> float:
    """Return `tpr`; an `InputError` unless it is above 0 and at most 1."""
    if not 0.0 < tpr <= 1.0:
        raise InputError(f"tpr: must be above 0 and at most 1 (0.95, not 95), not {tpr}")
    return float(tpr)
