"""A threshold from in-distribution scores, and how sure one can be of what it keeps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from synood.arrays import to_numpy
from synood.errors import InputError
from synood.metrics import checked_rate, least_count

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

ENOUGH_IMAGES = 200  # from here on the 95 % interval around 0.95 is narrower than +- 0.035


@dataclass(frozen=True)
class Calibration:
    """How a threshold was found: `images` scores, of which the fraction `tpr_reached` is kept.

    `tpr_low` to `tpr_high` is the 95 % Wilson interval of the fraction of new in-distribution
    images that the threshold keeps; `warning` says when it is too wide to rely on, else None.
    """

    threshold: float
    images: int
    tpr_wanted: float
    tpr_reached: float
    tpr_low: float
    tpr_high: float
    warning: str | None


def calibrate_threshold(scores: ArrayLike, tpr: float = 0.95) -> Calibration:
    """Return the highest threshold that at least the fraction `tpr` of `scores` (N,) reaches.

    A score counts as in-distribution when it is >= the threshold, so ties are kept together.
    Raises `InputError` for no scores, NaN, or a `tpr` outside (0, 1].

    >>> result = calibrate_threshold([0.1, 0.4, 0.6, 0.8, 0.9], tpr=0.8)
    >>> result.threshold, result.tpr_reached
    (0.4, 0.8)
    """
    values = np.sort(to_numpy(scores, "calibration").ravel())
    if not values.size or not np.isfinite(values).all():
        raise InputError("calibration: needs at least one score, and no NaN or infinity")
    checked_rate(tpr)
    count = len(values)
    threshold = values[count - least_count(count, tpr)]
    kept = int(np.count_nonzero(values >= threshold))
    low, high = wilson_interval(kept, count)
    return Calibration(
        threshold=float(threshold),
        images=count,
        tpr_wanted=float(tpr),
        tpr_reached=kept / count,
        tpr_low=low,
        tpr_high=high,
        warning=_warning(count, low, high),
    )


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


def _warning(count: int, low: float, high: float) -> str | None:
    if count >= ENOUGH_IMAGES:
        return None
    return (
        f"calibrated on only {count} images: the fraction of in-distribution images kept may be "
        f"anywhere from {low:.0%} to {high:.0%}; calibrate with {ENOUGH_IMAGES} images or more"
    )
