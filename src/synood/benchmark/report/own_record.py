"""What an `evaluate` file holds beyond its rows, so that its page needs neither model nor image.

run.scored             a set each: its images, every method's scores of them, and the verdicts
run.mistakes           a set each: the most confident mistakes of the first detector, with a
                       small image of each
run.operating_points   what each detector does with each set at its own threshold
run.comparisons        the first detector against every other method, paired
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from synood.benchmark.protocol.own_sets import INSIDE
from synood.benchmark.report.records import comparisons_to_json, methods_to_json
from synood.benchmark.report.thumbnails import thumbnail
from synood.files import readable
from synood.tuning.assignment import nearest_negative

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from synood.benchmark.protocol.own_sets import Judged, Measured, OperatingPoint
    from synood.benchmark.protocol.readable import ReadableSet
    from synood.benchmark.results.comparisons import Comparison
    from synood.detector.ood_detector import OODDetector, Prediction

WORST = 6  # mistakes shown of each set
MOST = 200_000  # images whose scores are written one by one


def own_record(
    found: Sequence[Measured],
    groups: Mapping[str, str],
    judged: Judged,
    points: Sequence[OperatingPoint],
    comparisons: Sequence[Comparison],
) -> dict[str, Any]:
    """Return the entries of `run`; `judged` is what the first detector says."""
    encoded, detector = judged.encoded, judged.detector
    total = sum(len(item.features) for item in encoded.values())
    scored = [_scored(name, groups, item, found, judged.measured) for name, item in encoded.items()]
    return {
        "method": judged.measured.method.name,
        "threshold": detector.threshold,
        "methods": methods_to_json(item.method for item in found),
        "operating_points": [point.to_json() for point in points],
        "comparisons": comparisons_to_json(comparisons),
        "scored": scored if total <= MOST else [],
        "mistakes": [
            _mistakes(name, groups, item, detector, judged.predicted[name])
            for name, item in encoded.items()
        ],
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
    negatives = nearest_labels(detector, item.features[worst])
    records = item.index.records
    return {
        "set": name,
        "group": groups.get(name, "id"),
        "count": None if detector.threshold is None else sum(wrong),
        "total": len(predicted),
        "shown": [
            {
                "thumbnail": base64.b64encode(thumbnail(records[i].path)).decode("ascii"),
                "image": records[i].id,
                "score": float(f"{predicted[i].score:.9g}"),
                "nearest_class": predicted[i].label,
                "nearest_negative": negative,
                "wrong": wrong[i],
                "label": records[i].label,
            }
            for i, negative in zip(worst, negatives, strict=True)
        ],
    }


def nearest_labels(detector: OODDetector, features: NDArray[np.float32]) -> list[str]:
    """Return the nearest negative label of each image (N, D)."""
    rows = features if detector.projection is None else detector.projection.apply(features)
    nearest = nearest_negative(rows, detector.negative_features)
    return [detector.negative_prompts[row] for row in nearest]
