"""How well one score separates in-distribution (ID) from out-of-distribution (OOD) images.

Convention: a higher score means more in-distribution. Both sets are sorted once and merged into
integer counts per distinct score; every figure is derived from those counts, so ties, dtype and
magnitude cannot change a result. All figures are fractions in [0, 1].
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from synood.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Counts: TypeAlias = "NDArray[np.int64]"
Side = Literal["id", "ood"]
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
    return _all_metrics(_curve(id_scores, ood_scores), _checked_rate(tpr))


def auroc(id_scores: ArrayLike, ood_scores: ArrayLike) -> float:
    """Chance that an ID image scores above an OOD image, a tie counting half (Mann-Whitney).

    Computed in integers and divided once: the result is the exact value, correctly rounded.
    """
    return _auroc(_curve(id_scores, ood_scores))


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
    curve = _curve(id_scores, ood_scores).seen_from(positive)
    if method == "average_precision":
        return _average_precision(curve)
    if method == "trapezoid":
        return _precision_trapezoid(curve)
    raise InputError(f"method: {method!r} is not 'average_precision' or 'trapezoid'")


def fpr_at_tpr(
    id_scores: ArrayLike, ood_scores: ArrayLike, tpr: float = 0.95, positive: Side = "id"
) -> float:
    """False positive rate at the first threshold that catches at least `tpr` of the positives.

    With positive="id": the share of OOD accepted when `tpr` of ID is kept, the reading of NegLabel,
    MCM and SynOOD (whose codes take the nearest threshold, not the first). With positive="ood": the
    share of ID rejected when `tpr` of OOD is caught, as OpenOOD and pytorch-ood report it.
    """
    curve = _curve(id_scores, ood_scores).seen_from(positive)
    return _fpr_at_tpr(curve, _checked_rate(tpr))


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
    curve = _curve(id_scores, ood_scores)
    rate, ends = _checked_rate(tpr), _tails(level)
    rng = np.random.default_rng(seed)
    owners = [np.repeat(np.arange(side.size), side) for side in (curve.positive, curve.negative)]
    size = curve.positive.size
    drawn = [
        astuple(_all_metrics(_Curve(*(_redraw(owner, size, rng) for owner in owners)), rate))
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
    curve = _curve(id_scores, ood_scores)
    if min(curve.n_positive, curve.n_negative) < 2:
        raise InputError("delong_interval: each side needs at least two scores")
    centre = _auroc(curve)
    reach = NormalDist().inv_cdf(_tails(level)[1]) * math.sqrt(_delong_variance(curve))
    return max(0.0, centre - reach), min(1.0, centre + reach)


@dataclass(frozen=True, eq=False)
class _Curve:
    """Counts of both classes per distinct score, from the most positive score downwards."""

    positive: Counts
    negative: Counts

    @cached_property
    def caught(self) -> Counts:
        """Positives at or above each distinct score."""
        return np.cumsum(self.positive)

    @cached_property
    def mistaken(self) -> Counts:
        """Negatives at or above each distinct score."""
        return np.cumsum(self.negative)

    @property
    def n_positive(self) -> int:
        return int(self.caught[-1])

    @property
    def n_negative(self) -> int:
        return int(self.mistaken[-1])

    def seen_from(self, side: Side) -> _Curve:
        """Return the curve with this side as the positive class; curves are made with ID's."""
        if side == "id":
            return self
        if side == "ood":
            return _Curve(self.negative[::-1], self.positive[::-1])
        raise InputError(f"positive: {side!r} is not 'id' or 'ood'")


def _curve(id_scores: ArrayLike, ood_scores: ArrayLike) -> _Curve:
    """Count both sides per distinct score, ID as the positive class."""
    ids, oods = _comparable(_checked(id_scores, "id_scores"), _checked(ood_scores, "ood_scores"))
    joined = np.concatenate([np.sort(ids), np.sort(oods)])
    order = np.argsort(joined, kind="stable")  # merges two sorted runs in linear time
    values = joined[order]
    ends = np.append(np.flatnonzero(values[1:] != values[:-1]), values.size - 1)
    id_until = np.cumsum(order < ids.size)[ends]
    ood_until = ends + 1 - id_until
    return _Curve(np.diff(id_until, prepend=0)[::-1], np.diff(ood_until, prepend=0)[::-1])


def _all_metrics(curve: _Curve, tpr: float) -> OODMetrics:
    mirrored = curve.seen_from("ood")
    return OODMetrics(
        auroc=_auroc(curve),
        aupr_in=_average_precision(curve),
        aupr_out=_average_precision(mirrored),
        fpr95=_fpr_at_tpr(curve, tpr),
        fpr95_ood_positive=_fpr_at_tpr(mirrored, tpr),
    )


def _auroc(curve: _Curve) -> float:
    # Twice the positives that beat each negative, a tie counting one: integers, so exact.
    doubled_wins = 2 * curve.caught - curve.positive
    return int(np.sum(curve.negative * doubled_wins)) / (2 * curve.n_positive * curve.n_negative)


def _precision(curve: _Curve) -> NDArray[np.float64]:
    """Precision at each distinct score."""
    accepted = np.maximum(curve.caught + curve.mistaken, 1)  # a resample may lack the top scores
    precision: NDArray[np.float64] = curve.caught / accepted
    return precision


def _average_precision(curve: _Curve) -> float:
    return float(np.sum(curve.positive * _precision(curve))) / curve.n_positive


def _precision_trapezoid(curve: _Curve) -> float:
    after = _precision(curve)
    before = np.append(1.0, after[:-1])
    return float(np.sum(curve.positive * (before + after))) / (2 * curve.n_positive)


def _fpr_at_tpr(curve: _Curve, tpr: float) -> float:
    at = np.searchsorted(curve.caught, _needed(curve.n_positive, tpr))
    return int(curve.mistaken[at]) / curve.n_negative


def _needed(n: int, tpr: float) -> int:
    """Smallest number of caught samples, at least one, whose share of `n` is at least `tpr`."""
    needed = max(1, round(tpr * n))
    while needed / n < tpr:  # the division a reader would make, so 19 of 20 are 0.95
        needed += 1
    return needed


def _redraw(owners: Counts, size: int, rng: np.random.Generator) -> Counts:
    """Counts per distinct score of a resample; `owners` names the score of each sample."""
    return np.bincount(owners[rng.integers(0, owners.size, owners.size)], minlength=size)


def _delong_variance(curve: _Curve) -> float:
    """Variance of the AUROC: of the placements of positives and of negatives, each over its n."""
    n, m = curve.n_positive, curve.n_negative
    of_positives = (2 * (m - curve.mistaken) + curve.negative) / (2 * m)
    of_negatives = (2 * curve.caught - curve.positive) / (2 * n)
    centre = _auroc(curve)
    spread_positives = float(np.sum(curve.positive * (of_positives - centre) ** 2)) / (n - 1)
    spread_negatives = float(np.sum(curve.negative * (of_negatives - centre) ** 2)) / (m - 1)
    return spread_positives / n + spread_negatives / m


def _checked(scores: ArrayLike, name: str) -> NDArray[Any]:
    """Return (N,) real scores without NaN, in their own dtype."""
    try:
        array = np.asarray(scores)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: not an array of numbers ({error})") from None
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name}: dtype {array.dtype} is not real; give one real number a sample")
    if array.ndim != 1:
        raise InputError(f"{name}: shape {array.shape} is not (N,); give one score a sample")
    if array.size == 0:
        raise InputError(f"{name}: empty; give at least one score")
    missing = int(np.isnan(array).sum())
    if missing:
        raise InputError(f"{name}: {missing} of {array.size} scores are NaN; leave them out")
    return array


def _comparable(a: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Bring both arrays to one dtype without changing any value."""
    common = np.result_type(a, b)
    if all(_fits(array, common) for array in (a, b)):
        return a.astype(common, copy=False), b.astype(common, copy=False)
    return a.astype(object), b.astype(object)  # Python compares int and float exactly


def _fits(array: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    """Whether all values survive the cast: integers beyond a float's mantissa do not."""
    if array.dtype.kind not in "iu" or dtype.kind != "f":
        return True
    limit = 1 << (int(np.finfo(dtype).nmant) + 1)
    return -limit <= int(array.min()) <= int(array.max()) <= limit


def _checked_rate(tpr: float) -> float:
    if not 0.0 < tpr <= 1.0:
        raise InputError(f"tpr: {tpr} is not in (0, 1]")
    return float(tpr)


def _tails(level: float) -> tuple[float, float]:
    """Return the two quantiles between which the middle `level` lies."""
    if not 0.0 < level < 1.0:
        raise InputError(f"level: {level} is not in (0, 1)")
    return (1.0 - level) / 2.0, (1.0 + level) / 2.0
