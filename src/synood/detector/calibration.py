"""A threshold and p-values from in-distribution scores, and how sure one can be of what is kept."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from synood.arrays import to_numpy
from synood.detector._groups import ClassGroups
from synood.detector.conformal import (
    benjamini_hochberg,
    check_enough,
    conformal_rank,
    images_needed,
    kept_interval,
    p_values,
)
from synood.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Calibration",
    "benjamini_hochberg",
    "calibrate_threshold",
    "images_needed",
    "p_values",
    "wilson_interval",
]

ENOUGH_IMAGES = 200  # from here on the 95 % interval around 0.95 is narrower than +- 0.035


@dataclass(frozen=True)
class Calibration:
    """How a threshold was found: `images` scores, of which the fraction `tpr_reached` is kept.

    On average over calibrations it keeps at least `tpr_wanted` of new in-distribution images; this
    one keeps between `tpr_low` and `tpr_high` of them, a 95 % interval. `warning` says what makes
    it hard to rely on, else None. `scores` (images,) ascend; they are None in a detector of an
    earlier version, which did not keep them. `labels` (images,) are the rows of the images'
    predicted classes where each class has a threshold of its own. `image_evidence` (images,) is
    what images alone say of these images, ascending by itself, for tests of drift; None where the
    detector has none beside the text. `cross_fitted` says that the images were scored fold by fold,
    by what the others teach: new images then score a little higher, never lower.
    """

    threshold: float
    images: int
    tpr_wanted: float
    tpr_reached: float
    tpr_low: float
    tpr_high: float
    warning: str | None
    cross_fitted: bool = False
    scores: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    labels: NDArray[np.int64] | None = field(default=None, compare=False, repr=False)
    image_evidence: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse scores and labels, which may come from a file, that do not fit."""
        if self.scores is None:
            return
        for name, values in (("scores", self.scores), ("image_evidence", self.image_evidence)):
            if values is not None and not self._fits(values):
                raise InputError(f"calibration: {name} must be {self.images} ascending numbers")
        if self.labels is not None and (
            self.labels.shape != (self.images,) or self.labels.min(initial=0) < 0
        ):
            raise InputError(f"calibration: labels must be {self.images} rows of classes")

    def _fits(self, values: NDArray[np.float32]) -> bool:
        right_size = values.shape == (self.images,) and bool(np.isfinite(values).all())
        return right_size and bool((np.diff(values) >= 0).all())

    @cached_property
    def groups(self) -> ClassGroups | None:
        """Scores by predicted class, None where all classes share one threshold."""
        if self.scores is None or self.labels is None:
            return None
        return ClassGroups.of(self.scores, self.labels, self.tpr_wanted)

    def threshold_of(self, label: int) -> float:
        """Return the threshold for an image whose predicted class has this row."""
        return self.threshold if self.groups is None else self.groups.threshold_of(label)

    def p_value(self, score: float, label: int) -> float | None:
        """Return one image's p-value; None where the scores were not kept."""
        if self.scores is None:
            return None
        known = self.scores if self.groups is None else self.groups.scores_of(label)
        return (1 + bisect_right(known, score)) / (len(known) + 1)

    def p_values(self, scores: ArrayLike, labels: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return the p-values of scores (N,); with thresholds by class, `labels` are needed too.

        `labels` (N,) are the rows of the images' predicted classes.
        """
        if self.scores is None:
            raise InputError(
                "detector: its calibration scores were not kept by an earlier version; calibrate "
                "it again for p-values"
            )
        if self.groups is None:
            return p_values(self.scores, scores)
        values = to_numpy(scores, "scores")
        if labels is None:
            raise InputError("p-values: thresholds are by class; give the predicted classes too")
        rows = to_numpy(labels, "labels")
        if rows.shape != values.shape:
            raise InputError(f"labels: {rows.shape} for scores of shape {values.shape}")
        found = np.empty(values.shape)
        for row in np.unique(rows):
            own = rows == row
            found[own] = p_values(self.groups.scores_of(int(row)), values[own])
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values; of arrays only whether there are any."""
        plain = {name: value for name, value in vars(self).items() if name not in _ARRAYS}
        return {
            **plain,
            "scores": self.scores is not None,
            "per_class": self.labels is not None,
            "image_evidence": self.image_evidence is not None,
        }


_ARRAYS = ("scores", "labels", "image_evidence", "groups")


def calibrate_threshold(
    scores: ArrayLike,
    tpr: float = 0.95,
    labels: ArrayLike | None = None,
    image_evidence: ArrayLike | None = None,
) -> Calibration:
    """Return the threshold that keeps at least `tpr` of new in-distribution images on average.

    It is the k-th smallest of `scores` (N,), k = floor((N + 1)(1 - tpr)), so that what it promises
    holds for every N and every kind of score. A score counts as in-distribution when it is >= the
    threshold, so ties are kept together. With the predicted classes `labels` (N,), every class with
    enough images has a threshold of its own. `image_evidence` (N,) is kept with the scores.

    Raises `InputError` for too few scores, saying how many are needed, for NaN, for a `tpr` outside
    (0, 1), and where more than half of the scores are equal to the threshold.

    >>> result = calibrate_threshold([0.1, 0.4, 0.6, 0.8, 0.9], tpr=0.8)
    >>> round(result.threshold, 4), result.tpr_reached
    (0.1, 1.0)
    """
    values = to_numpy(scores, "calibration").ravel().astype(np.float32)
    if not values.size or not np.isfinite(values).all():
        raise InputError("calibration: needs at least one score, and no NaN or infinity")
    count = len(values)
    check_enough(count, tpr)
    order = np.argsort(values, kind="stable")
    values = values[order]
    rank = conformal_rank(count, tpr)
    threshold = values[rank - 1]
    low, high = kept_interval(count, rank)
    return Calibration(
        threshold=float(threshold),
        images=count,
        tpr_wanted=float(tpr),
        tpr_reached=int(np.count_nonzero(values >= threshold)) / count,
        tpr_low=low,
        tpr_high=high,
        warning=_warning(count, low, high, int(np.count_nonzero(values == threshold))),
        scores=values,
        labels=None if labels is None else _rows(labels, count)[order],
        image_evidence=None if image_evidence is None else _ascending(image_evidence, count),
    )


def _rows(labels: ArrayLike, count: int) -> NDArray[np.int64]:
    rows = to_numpy(labels, "labels")
    if rows.shape != (count,) or rows.dtype.kind not in "iu":
        raise InputError(f"labels: must be rows of classes, one for each of {count} scores")
    return rows.astype(np.int64)


def _ascending(values: ArrayLike, count: int) -> NDArray[np.float32]:
    found = to_numpy(values, "image evidence").astype(np.float32)
    if found.shape != (count,) or not np.isfinite(found).all():
        raise InputError(f"image evidence: must be a finite number for each of {count} scores")
    return np.sort(found)


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a fraction by Wilson's score method (J. Am. Stat. Assoc. 22, 1927).

    >>> [round(end, 3) for end in wilson_interval(95, 100)]
    [0.888, 0.978]
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    fraction = successes / trials
    centre = fraction + z * z / (2 * trials)
    reach = z * math.sqrt(fraction * (1 - fraction) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (centre - reach) / scale), min(1.0, (centre + reach) / scale)


def _warning(count: int, low: float, high: float, ties: int) -> str | None:
    """Say what makes a threshold hard to rely on; refuse one that tells nothing apart."""
    if count > 1 and 2 * ties > count:
        raise InputError(
            f"calibration: {ties} of {count} scores are equal to the threshold, so the detector "
            "cannot tell these images apart; give other images, none of them twice"
        )
    found = []
    if count < ENOUGH_IMAGES:
        found.append(
            f"calibrated on only {count} images: the fraction of in-distribution images kept may "
            f"be anywhere from {100 * low:.0f} % to {100 * high:.0f} %; "
            f"calibrate with {ENOUGH_IMAGES} or more"
        )
    if ties > 1:
        found.append(
            f"{ties} of {count} calibration scores are equal to the threshold: if they are of one "
            "image, it counts once; leave its copies out"
        )
    return "; ".join(found) or None
