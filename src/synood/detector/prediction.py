"""What a detector says of one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from synood.detector.explanation import Explanation


@dataclass(frozen=True)
class Prediction:
    """Verdict on one image. `is_ood` is None while the detector has no threshold.

    `label` is the nearest class, whether the image is in-distribution or not. Of several images,
    one that could not be read has the reason in `error`; its `score` is then not a number. `why`
    says what the image is nearest to.
    `p_value` is the part of in-distribution images, this one included, that score no higher: of
    new in-distribution images at most the fraction a has one of a or less. None where the detector
    keeps no calibration scores.
    `image_evidence` is what the images of the classes say of this one without the text: 0 for the
    average in-distribution image, higher = more in-distribution. None where the detector has no
    image evidence, or nothing else, so that the score says it already.
    """

    score: float
    is_ood: bool | None
    label: str
    path: Path | None = None
    error: str | None = None
    why: Explanation | None = None
    p_value: float | None = None
    image_evidence: float | None = None


def image_evidence_of(predictions: Iterable[Prediction]) -> list[float] | None:
    """Return the image evidence of each, None unless all of them have some."""
    values = [one.image_evidence for one in predictions]
    found = [value for value in values if value is not None]
    return found if found and len(found) == len(values) else None
