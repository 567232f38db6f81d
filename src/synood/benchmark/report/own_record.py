"""What an `evaluate` file holds beyond its rows, so that its page needs neither model nor image.

run.scored             a set each: its images, every method's scores of them, and the verdicts
run.mistakes           a set each: the most confident mistakes of the first detector, with a
                       small image of each
run.paintings          some synthetic images of the detector's run, with their sources
run.labels             how often the nearest class is the one whose folder an image lies in
run.operating_points   what each detector does with each set at its own threshold
run.comparisons        the first detector against every other method, paired
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from synood.benchmark.protocol.own_sets import INSIDE, label_accuracy
from synood.benchmark.protocol.retune import read_pairs
from synood.benchmark.protocol.training_images import selected_images
from synood.benchmark.report.records import comparisons_to_json, methods_to_json
from synood.benchmark.report.thumbnails import evenly, thumbnail
from synood.errors import InputError
from synood.files import readable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from synood.benchmark.protocol.own_sets import EvaluatedDetector, Measured, OperatingPoint
    from synood.benchmark.protocol.readable import ReadableSet
    from synood.benchmark.protocol.retune import ImagePair
    from synood.benchmark.results.comparisons import Comparison
    from synood.detector.explanation import Explanation
    from synood.detector.ood_detector import OODDetector, Prediction

PAIRS = 16  # shown of all
WORST = 6  # mistakes shown of each set
MOST = 200_000  # images whose scores are written one by one


def own_record(
    found: Sequence[Measured],
    groups: Mapping[str, str],
    evaluated: EvaluatedDetector,
    points: Sequence[OperatingPoint],
    comparisons: Sequence[Comparison],
    made_in: Path | None = None,
) -> dict[str, Any]:
    """Return the entries of `run`; `evaluated` is what the first detector says.

    `made_in` is the run directory that it lies in, if any.
    """
    encoded, detector = evaluated.encoded, evaluated.detector
    total = sum(len(item.features) for item in encoded.values())
    scored = [
        _scored(name, groups, item, found, evaluated.measured) for name, item in encoded.items()
    ]
    return {
        "method": evaluated.measured.method.name,
        "threshold": detector.threshold,
        "methods": methods_to_json(item.method for item in found),
        "operating_points": [point.to_json() for point in points],
        "comparisons": comparisons_to_json(comparisons),
        "calibration": _calibration(detector),
        "scored": scored if total <= MOST else [],
        "mistakes": [
            _mistakes(name, groups, item, detector, evaluated.predicted[name])
            for name, item in encoded.items()
        ],
        "labels": dict(zip(("right", "images"), label_accuracy(evaluated), strict=True)),
        "paintings": [] if made_in is None else _paintings(made_in),
    }


def detector_record(evaluated: EvaluatedDetector) -> dict[str, Any]:
    """Return which detector a method is."""
    detector = evaluated.detector
    return {
        "method": evaluated.measured.method.name,
        "recipe": detector.recipe,
        "classes": len(detector.class_names),
        "bundle": detector.backbone.bundle,
        "encoder": detector.backbone.fingerprint,
        "threshold": detector.threshold,
    }


def _scored(
    name: str,
    groups: Mapping[str, str],
    item: ReadableSet,
    found: Sequence[Measured],
    first: Measured,
) -> dict[str, Any]:
    rejected = None if first.rejected is None else first.rejected[name].tolist()
    return {
        "set": name,
        "group": groups.get(name, "id"),
        "folder": readable(item.index.root),
        "images": [record.id for record in item.index.records],
        "rejected": rejected,
        "scores": {one.method.name: digits(one.scores[name]) for one in found},
    }


def _calibration(detector: OODDetector) -> dict[str, Any] | None:
    found = detector.calibration
    if found is None:
        return None
    return {"images": found.images, "tpr_wanted": found.tpr_wanted}


def _paintings(run: Path) -> list[dict[str, Any]]:
    """Return some pairs of a run; none where its images are no longer where they were."""
    try:
        pairs = evenly(read_pairs(run, selected_images(run)), PAIRS)
        return [_pair(pair) for pair in pairs]
    except (InputError, OSError, KeyError):
        return []


def _pair(pair: ImagePair) -> dict[str, Any]:
    made = pair.synthetic
    return {
        "source": encoded_thumbnail(pair.source.path),
        "synthetic": encoded_thumbnail(made.path),
        "class": pair.source.label,
        "prompt": made.prompt,
        "negative_label": pair.negative_prompt,
        "energy_before": made.source_energy,
        "energies": list(made.energies),
        "stop": made.stop,
    }


def encoded_thumbnail(path: Path) -> str:
    """Return a small image as base64 text."""
    return base64.b64encode(thumbnail(path)).decode("ascii")


def digits(scores: NDArray[np.float32]) -> list[float]:
    """Return scores with as many digits as a float32 has."""
    return [float(f"{value:.9g}") for value in scores.tolist()]


def _mistakes(
    name: str,
    groups: Mapping[str, str],
    item: ReadableSet,
    detector: OODDetector,
    predicted: Sequence[Prediction],
) -> dict[str, Any]:
    """Return the highest OOD or lowest in-distribution scores of a set, equal ones in its order."""
    inside = name == INSIDE
    order = sorted(range(len(predicted)), key=lambda i: predicted[i].score * (1 if inside else -1))
    wrong = [one.is_ood is not None and one.is_ood == inside for one in predicted]
    worst = order[:WORST]
    reasons = detector.predict_features(item.features[worst]) if worst else []
    records = item.index.records
    return {
        "set": name,
        "group": groups.get(name, "id"),
        "count": None if detector.threshold is None else sum(wrong),
        "total": len(predicted),
        "shown": [
            {
                "thumbnail": encoded_thumbnail(records[i].path),
                "image": records[i].id,
                "score": float(f"{predicted[i].score:.9g}"),
                "nearest_class": predicted[i].label,
                "nearest_negative": _first(one.why),
                "wrong": wrong[i],
                "label": records[i].label,
                "p_value": predicted[i].p_value,
            }
            for i, one in zip(worst, reasons, strict=True)
        ],
    }


def _first(why: Explanation | None) -> str:
    """Return the nearest negative label; empty for a detector without texts."""
    return why.negatives[0].name if why is not None and why.negatives else ""
