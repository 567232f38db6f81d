"""Checks of what a detector is given: features of texts, scores, and images that can be read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from synood.arrays import to_numpy
from synood.errors import InputError
from synood.features.unreadable import Unreadable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synood.detector.evidence import ImageEvidence
    from synood.detector.ood_detector import OODDetector


def as_scores(values: object) -> NDArray[Any] | None:
    """Return `values` as an array when they are scores - a line of numbers - and not images."""
    if isinstance(values, Sequence):
        first = values[0] if values and not isinstance(values, str) else None
        is_number = isinstance(first, int | float) or getattr(first, "ndim", None) == 0
        return to_numpy(values, "scores") if is_number else None
    if not hasattr(values, "ndim"):
        return None
    array = to_numpy(values, "scores")
    return array if array.ndim == 1 and array.dtype.kind in "fiu" else None


def class_rows(labels: Sequence[str], class_names: Sequence[str]) -> NDArray[np.int64]:
    """Return the row of each label (N,) among the class names; others are an `InputError`."""
    rows = {name: row for row, name in enumerate(class_names)}
    unknown = next((label for label in labels if label not in rows), None)
    if unknown is not None:
        raise InputError(f"labels: {unknown!r} is none of the detector's {len(rows)} classes")
    return np.array([rows[label] for label in labels], np.int64)


def readable(row: NDArray[np.float32] | Unreadable) -> NDArray[np.float32]:
    """Return a feature; raise the reason of an image that cannot be read."""
    if isinstance(row, Unreadable):
        raise InputError(row.reason)
    return row


def check_parts(detector: OODDetector) -> None:
    """Refuse parts of a detector that do not fit together."""
    count, evidence = len(detector.negative_prompts), detector.image_evidence
    check_features("class", detector.class_features, len(detector.class_names))
    without_text = evidence is not None and not evidence.uses_text
    check_features("negative", detector.negative_features, count, none=without_text)
    if detector.class_features.shape[1] != detector.negative_features.shape[1]:
        raise InputError("detector: class and negative features differ in length")
    if detector.threshold is not None and not math.isfinite(detector.threshold):
        raise InputError(f"detector: threshold {detector.threshold} is not a number")
    labels = None if detector.calibration is None else detector.calibration.labels
    if labels is not None and labels.max(initial=0) >= len(detector.class_names):
        raise InputError("detector: calibration labels must be rows of its classes")
    rows = detector.tuned_rows
    if list(rows) != sorted(set(rows) & set(range(count))):
        raise InputError("detector: tuned_rows must be ascending rows of negative_features")
    if evidence is not None:
        check_evidence(evidence, detector.class_features)


def check_features(
    kind: str,
    features: Any,  # noqa: ANN401 - to be checked
    rows: int,
    *,
    none: bool = False,
) -> None:
    """Refuse features that are not one float32 row of unit length for each text.

    No rows at all are fine with `none`.
    """
    fits = isinstance(features, np.ndarray) and features.dtype == np.float32 and features.ndim == 2
    if not fits or features.shape[0] != rows or (rows == 0 and not none):
        found = f"{getattr(features, 'dtype', type(features))} {getattr(features, 'shape', '')}"
        raise InputError(f"detector: {kind} features should be float32 ({rows}, D), found {found}")
    # no for NaN, and before squares that overflow
    in_range = np.abs(features).max(initial=0) <= 1.001
    if not in_range or not np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-3):
        raise InputError(f"detector: {kind} features must have unit length")


def check_evidence(evidence: ImageEvidence, class_features: NDArray[np.float32]) -> None:
    """Refuse image evidence of other classes or features than the detector's."""
    if evidence.centres.shape != class_features.shape:
        raise InputError(
            f"detector: image evidence of shape {evidence.centres.shape} does not fit class "
            f"features of shape {class_features.shape}"
        )
