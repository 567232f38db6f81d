"""Verdicts on a whole batch: of the images called out-of-distribution, few are not (FDR)."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from synood.detector.conformal import benjamini_hochberg, checked_false_discovery_rate
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.detector.calibration import Calibration
    from synood.detector.ood_detector import Prediction


def check_rate(calibration: Calibration | None, rate: float, name: str) -> Calibration:
    """Return the calibration; refuse a false discovery rate that it cannot bound.

    `name` is the detector's in the `InputError`.
    """
    checked_false_discovery_rate(rate)
    if calibration is None or calibration.scores is None:
        raise InputError(
            f"{name}: keeps no calibration scores, which p-values are made of; `synood calibrate` "
            "adds them"
        )
    needed = images_to_find(1, 1, rate)
    if calibration.images < needed:
        raise InputError(
            f"{name}: calibrated on {calibration.images} images, it can find nothing at --fdr "
            f"{rate:g}; {needed:,} images or more are needed"
        )
    return calibration


def with_rate(
    predictions: Sequence[Prediction], calibration: Calibration, rate: float
) -> tuple[list[Prediction], str | None]:
    """Return predictions whose verdicts keep the false discovery rate of the whole batch.

    Also returns a remark where there are too few calibration images to find a single OOD image
    among so many. An image that could not be read has no verdict and is not counted.
    """
    values = [one.p_value for one in predictions if one.p_value is not None]
    verdicts = iter(benjamini_hochberg(values, rate).tolist())
    found = [
        one if one.p_value is None else replace(one, is_ood=next(verdicts)) for one in predictions
    ]
    images = calibration.images
    needed = images_to_find(1, len(values), rate)
    if images >= needed:
        return found, None
    together = math.ceil(len(values) / (Fraction(repr(float(rate))) * (images + 1)))
    return found, (
        f"calibrated on {images:,} images, the detector finds OOD images among {len(values):,} at "
        f"--fdr {rate:g} only if {together:,} or more stand out; {needed:,} calibration images "
        "would find a single one"
    )


def images_to_find(discoveries: int, count: int, rate: float) -> int:
    """Return how many calibration images it takes to call so many of `count` images OOD.

    The smallest p-value of n images, 1 / (n + 1), must be at most discoveries * rate / count.

    >>> images_to_find(1, 1, 0.05), images_to_find(1, 100, 0.05), images_to_find(10, 100, 0.05)
    (19, 1999, 199)
    """
    limit = discoveries * Fraction(repr(float(rate))) / max(1, count)
    return max(1, math.ceil(1 / limit) - 1)
