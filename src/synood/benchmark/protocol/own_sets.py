"""A user's own sets of images: encoded once, then scored by detectors and other methods alike."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from synood.benchmark.results.comparisons import SeedScores, compare
from synood.benchmark.results.results import make_row
from synood.benchmark.results.tables import columns
from synood.detector.calibration import wilson_interval
from synood.errors import InputError
from synood.features.extractor import BATCH
from synood.labels.class_names import class_key, class_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from synood.benchmark.protocol.methods import Method
    from synood.benchmark.protocol.readable import ReadableSet
    from synood.benchmark.results.comparisons import Comparison
    from synood.benchmark.results.results import OodGroup, Row
    from synood.detector.ood_detector import OODDetector, Prediction
    from synood.images.sources import ImageIndex

INSIDE = "in-distribution"  # the name of the in-distribution set
ALL_OOD = "all OOD sets"


@dataclass(frozen=True, eq=False)
class Measured:
    """What one method says of every set: set name -> scores (N,), higher = more in-distribution.

    `rejected` are its verdicts where it has a threshold, set name -> (N,) bool.
    """

    method: Method
    scores: Mapping[str, NDArray[np.float32]]
    rejected: Mapping[str, NDArray[np.bool_]] | None = None
    threshold: float | None = None


@dataclass(frozen=True, eq=False)
class EvaluatedDetector:
    """A detector's predictions of every set, of whose images `encoded` are the readable ones."""

    detector: OODDetector
    encoded: Mapping[str, ReadableSet]
    predicted: Mapping[str, Sequence[Prediction]]
    measured: Measured

    @property
    def indexes(self) -> dict[str, ImageIndex]:
        """Set name -> its readable images."""
        return {name: item.index for name, item in self.encoded.items()}

    @property
    def features(self) -> dict[str, NDArray[np.float32]]:
        """Set name -> features (N, D)."""
        return {name: item.features for name, item in self.encoded.items()}

    @property
    def unreadable(self) -> dict[str, list[str]]:
        """Set name -> why images were skipped, for the sets where some were."""
        return {name: [*item.unreadable] for name, item in self.encoded.items() if item.unreadable}


@dataclass(frozen=True)
class OperatingPoint:
    """What a detector does with one set at its own threshold: `count` of `images` are right.

    Right is to keep an in-distribution image and to reject another. `low` and `high` are the 95 %
    Wilson interval of the fraction of new images of the kind.
    """

    method: str
    set: str
    group: str
    threshold: float
    count: int
    images: int
    low: float
    high: float

    @property
    def fraction(self) -> float:
        """The fraction of images that are right."""
        return self.count / self.images

    def to_json(self) -> dict[str, Any]:
        """Return the fields and the fraction as JSON values."""
        return {**asdict(self), "fraction": self.fraction}


def predict_rows(detector: OODDetector, features: NDArray[np.float32]) -> list[Prediction]:
    """Return the predictions for features (N, D), `BATCH` at a time as `score` computes them."""
    found: list[Prediction] = []
    for start in range(0, len(features), BATCH):
        part = features[start : start + BATCH]
        filled = np.concatenate([part, np.repeat(part[:1], BATCH - len(part), axis=0)])
        found += detector.predict_features(filled, explain=False)[: len(part)]
    return found


def evaluate_detector(
    method: Method, detector: OODDetector, encoded: Mapping[str, ReadableSet]
) -> EvaluatedDetector:
    """Score every set by a detector and measure it."""
    predicted = {name: predict_rows(detector, item.features) for name, item in encoded.items()}
    return EvaluatedDetector(detector, encoded, predicted, _measured(method, detector, predicted))


def _measured(
    method: Method, detector: OODDetector, predicted: Mapping[str, Sequence[Prediction]]
) -> Measured:
    scores = {
        name: np.array([one.score for one in found], np.float32)
        for name, found in predicted.items()
    }
    if detector.threshold is None:
        return Measured(method, scores)
    rejected = {name: np.array([bool(one.is_ood) for one in f]) for name, f in predicted.items()}
    return Measured(method, scores, rejected, detector.threshold)


def label_accuracy(evaluated: EvaluatedDetector) -> tuple[int, int]:
    """Return how many in-distribution images have their own class as the nearest, and of how many.

    Images without a label do not count.
    """
    pairs = zip(evaluated.indexes[INSIDE].records, evaluated.predicted[INSIDE], strict=True)
    right = [
        class_key(record.label) == class_key(found.label)
        for record, found in pairs
        if record.label is not None
    ]
    return sum(right), len(right)


def labelled(index: ImageIndex, class_names: Sequence[str]) -> ImageIndex:
    """Give the images that lie in folders called like classes their classes as labels."""
    known = {class_key(name): name for name in class_names}

    def label(id_: str) -> str | None:
        folder, slash, _ = id_.partition("/")
        return known.get(class_key(class_name(folder))) if slash else None

    if index.class_names:  # listed with labels
        return index
    return replace(
        index, records=tuple(replace(record, label=label(record.id)) for record in index.records)
    )


def rows_of(found: Sequence[Measured], groups: Mapping[str, OodGroup]) -> tuple[Row, ...]:
    """Return one row for each method and OOD set; two methods of one name are an `InputError`."""
    names = [item.method.name for item in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"evaluate: two methods are named {twice[0]!r}; give one another name")
    return tuple(
        make_row(
            item.method.name,
            item.method.kind,
            name,
            group,
            0,
            item.scores[INSIDE],
            item.scores[name],
        )
        for item in found
        for name, group in groups.items()
    )


def compared(method: str, found: Sequence[Measured], rows: Sequence[Row]) -> list[Comparison]:
    """Compare `method` with each of the others on the same images, column by column."""
    scores = {
        item.method.name: [
            SeedScores(
                0,
                item.scores[INSIDE],
                {name: values for name, values in item.scores.items() if name != INSIDE},
            )
        ]
        for item in found
    }
    others = [name for name in scores if name != method]
    return compare(method, others, scores, columns(rows)) if others else []


def operating_points(item: Measured, groups: Mapping[str, OodGroup]) -> list[OperatingPoint]:
    """Return what a method does with each set at its threshold; empty without one."""
    if item.rejected is None or item.threshold is None:
        return []
    outside = {name: item.rejected[name] for name in groups}
    if len(outside) > 1:
        outside[ALL_OOD] = np.concatenate([*outside.values()])
    right = {INSIDE: ~item.rejected[INSIDE], **outside}
    points = []
    for name, side in right.items():
        count, images = int(side.sum()), len(side)
        group = "id" if name == INSIDE else groups.get(name, "all")
        ends = wilson_interval(count, images)
        points.append(
            OperatingPoint(
                item.method.name, name, group, float(item.threshold), count, images, *ends
            )
        )
    return points
