"""Fingerprints that tell one detector from another, however the files that hold them are named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synood.files import fingerprint, sha256_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synood.detector.ood_detector import OODDetector


def score_fingerprint(detector: OODDetector) -> str:
    """Return sixteen hex digits that change with everything that a score depends on.

    A threshold is not among it, nor what it was set with.
    """
    parts: dict[str, NDArray[Any]] = {
        "class_features": detector.class_features,
        "negative_features": detector.negative_features,
    }
    for part in (detector.projection, detector.image_evidence):
        if part is not None:
            parts |= {f"{type(part).__name__}.{k}": v for k, v in part.to_tensors().items()}
    return fingerprint(
        detector.class_names,
        detector.backbone.fingerprint,
        repr(detector.settings),
        {name: sha256_bytes(array.tobytes()) for name, array in parts.items()},
    )


def detector_fingerprint(detector: OODDetector) -> str:
    """Return sixteen hex digits that change with all that scores, p-values and verdicts need."""
    found = detector.calibration
    parts: dict[str, NDArray[Any]] = {}
    if found is not None and found.scores is not None:
        parts["scores"] = found.scores
        if found.labels is not None:
            parts["labels"] = found.labels
    return fingerprint(
        score_fingerprint(detector),
        repr(detector.threshold),
        {name: sha256_bytes(array.tobytes()) for name, array in parts.items()},
    )
