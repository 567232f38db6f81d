"""`scores.jsonl`: the saved detector's prediction for every test image, one per line.

The report's histograms, ROC curves and mistakes are drawn from it, so that a report can be made
again without any model.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from synood.errors import InputError
from synood.files import read_jsonl, readable, write_jsonl
from synood.tuning.assignment import nearest_negative

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.benchmark.suites.suite import ImageSet
    from synood.detector.ood_detector import OODDetector

SCORES = "scores.jsonl"
LOG_ODDS = "log odds"  # what results.json says that scores are; earlier versions wrote shares

Side = Literal["id", "near", "far"]


@dataclass(frozen=True)
class ScoredImage:
    """One test image: its set, its score (log odds), and the nearest texts of either kind.

    `image` is its path in the set's folder, `label` its class where it has one; the nearest class
    and negative label are those of highest cosine.
    """

    set: str
    group: Side
    image: str
    score: float
    nearest_class: str
    nearest_negative: str
    label: str | None = None


def score_images(detector: OODDetector, item: ImageSet, encoded: EncodedSet) -> list[ScoredImage]:
    """Return a detector's prediction for each image of a set, in the order of its listing."""
    projection = detector.projection
    rows = encoded.features if projection is None else projection.apply(encoded.features)
    negatives = nearest_negative(rows, detector.negative_features)
    predictions = detector.predict_features(encoded.features)
    return [
        ScoredImage(
            item.name,
            item.group,
            record.id,
            float(f"{prediction.score:.9g}"),  # as many digits as a float32 has
            prediction.label,
            detector.negative_prompts[negative],
            record.label,
        )
        for record, prediction, negative in zip(
            item.index().records, predictions, negatives, strict=True
        )
    ]


def write_predictions(path: Path, images: Iterable[ScoredImage]) -> None:
    """Write one line per image, atomically."""
    write_jsonl(path, (asdict(item) for item in images))


def read_predictions(path: Path) -> list[ScoredImage]:
    """Read `scores.jsonl`; an `InputError` names the line and the wrong field."""
    return [
        _scored_image(row, f"{readable(path)}, line {number}")
        for number, row in enumerate(read_jsonl(path), start=1)
    ]


def from_shares(images: Sequence[ScoredImage], threshold: float) -> tuple[list[ScoredImage], float]:
    """Return images and threshold of an earlier version, shares in [0, 1], as log odds.

    A share that single precision rounded to 0 or 1 is set to the nearest that it holds apart.
    """
    odds = _log_odds([*(one.score for one in images), threshold])
    pairs = zip(images, odds, strict=False)
    return [replace(one, score=score) for one, score in pairs], odds[-1]


def scores_by_set(images: Sequence[ScoredImage]) -> dict[str, np.ndarray]:
    """Return the scores (N,) float32 of each set, in the order of the lines."""
    found: dict[str, list[float]] = {}
    for item in images:
        found.setdefault(item.set, []).append(item.score)
    return {name: np.array(values, np.float32) for name, values in found.items()}


def _log_odds(shares: Sequence[float]) -> list[float]:
    held = np.clip(np.array(shares), np.finfo(np.float32).tiny, 1 - np.finfo(np.float32).epsneg)
    odds: list[float] = (np.log(held) - np.log1p(-held)).tolist()
    return odds


def _scored_image(row: Mapping[str, Any], where: str) -> ScoredImage:
    for name in ("set", "image", "nearest_class", "nearest_negative"):
        if not isinstance(row.get(name), str) or not row[name]:
            raise InputError(f"{where}: {name!r} must be a text, not {row.get(name)!r}")
    if row.get("group") not in ("id", "near", "far"):
        raise InputError(f"{where}: 'group' must be id, near or far, not {row.get('group')!r}")
    score = row.get("score")
    if not isinstance(score, int | float) or isinstance(score, bool) or not math.isfinite(score):
        raise InputError(f"{where}: 'score' must be a number, not {score!r}")
    if not isinstance(row.get("label"), str | None):
        raise InputError(f"{where}: 'label' must be a text, not {row['label']!r}")
    return ScoredImage(
        row["set"],
        cast("Side", row["group"]),
        row["image"],
        float(score),
        row["nearest_class"],
        row["nearest_negative"],
        row.get("label"),
    )
