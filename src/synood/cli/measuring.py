"""What `synood evaluate` measures on one's sets: detectors, baselines, other tools' scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synood.benchmark.protocol.evaluation import method_of
from synood.benchmark.protocol.methods import Method
from synood.benchmark.protocol.own_sets import INSIDE, Measured, evaluate_detector
from synood.benchmark.protocol.readable import encode_index
from synood.cli.console import warn, warn_of_unreadable
from synood.cli.inputs import load_detector, run_of
from synood.errors import InputError
from synood.files import readable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synood.benchmark.protocol.outside_scores import OutsideScores
    from synood.benchmark.protocol.own_sets import EvaluatedDetector
    from synood.benchmark.protocol.readable import ReadableSet
    from synood.benchmark.results.results import OodGroup
    from synood.benchmark.systems.same_encoder import TrainingImages
    from synood.detector.ood_detector import OODDetector
    from synood.images.sources import ImageIndex
    from synood.progress import Progress


@dataclass(frozen=True, eq=False)
class Contestant:
    """A detector, the directory it lies in, and the name it is measured under."""

    method: Method
    detector: OODDetector
    path: Path


@dataclass(frozen=True)
class Sets:
    """In-distribution images and named OOD sets with their groups."""

    inside: ImageIndex
    outside: tuple[tuple[str, ImageIndex, OodGroup], ...]

    @property
    def groups(self) -> dict[str, OodGroup]:
        """OOD set -> near or far."""
        return {name: group for name, _, group in self.outside}

    def items(self) -> Iterator[tuple[str, ImageIndex]]:
        """Yield every set by name, the in-distribution one first."""
        yield INSIDE, self.inside
        yield from ((name, index) for name, index, _ in self.outside)


def contestants(words: Sequence[Path], device: str, models: str | None) -> list[Contestant]:
    """Load detectors given as PATH or NAME=PATH; several take their names from their runs."""
    split = [split_name(str(word)) for word in words]
    loaded = [load_detector(path, device, models) for _, path in split]
    found = []
    for (name, path), detector in zip(split, loaded, strict=True):
        method = method_of(detector)
        if name is None and len(words) > 1:
            run = run_of(path)
            name = run.name if run is not None else path.resolve().name
        if name is not None:
            method = replace(method, name=name, title=name)
        found.append(Contestant(method, detector, path))
    names = [item.method.name for item in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(
            f"evaluate: two detectors are called {twice[0]!r}; name them, as in "
            f"first={readable(found[0].path)}"
        )
    return found


def find(
    contestants: Sequence[Contestant],
    sets: Sets,
    progress: Progress,
    max_bad: float,
    cache: Path | None,
) -> list[EvaluatedDetector]:
    """Encode every set once for each encoder, and score it by each detector."""
    encoded: dict[str, dict[str, ReadableSet]] = {}
    for one in contestants:
        key = one.detector.backbone.fingerprint
        if key not in encoded:
            encoded[key] = {
                name: encode_index(
                    one.detector, _said(name), index, partial(progress, _said(name)), cache, max_bad
                )
                for name, index in sets.items()
            }
    for name, item in next(iter(encoded.values())).items():
        warn_of_unreadable(item.unreadable, _said(name))
    return [
        evaluate_detector(one.method, one.detector, encoded[one.detector.backbone.fingerprint])
        for one in contestants
    ]


def untuned(evaluated: EvaluatedDetector) -> list[Measured]:
    """Measure NegLabel as the detector was before tuning, if it was tuned."""
    from synood.benchmark.systems.same_encoder import neglabel

    return neglabel(evaluated.detector, evaluated.features)


def baselines(
    evaluated: EvaluatedDetector,
    contestant: Contestant,
    train: Path | ImageIndex | None,
    progress: Progress,
    max_bad: float,
) -> list[Measured]:
    """Measure NegLabel and MCM, and where training images are known, distances and a linear head.

    They are those of --train or of a benchmark (`train`), else of the detector's run.
    """
    from synood.benchmark.systems.same_encoder import image_baselines, text_baselines
    from synood.images.sources import folder_per_class

    found = text_baselines(evaluated.detector, evaluated.features)
    index = folder_per_class(train) if isinstance(train, Path) else train or _of_run(contestant)
    if index is None:
        return found
    learned = _training_images(evaluated.detector, index, progress, max_bad)
    return [*image_baselines(evaluated.detector, learned, evaluated.features), *found]


def read_outside(
    scores: Sequence[str], anomaly_scores: Sequence[str]
) -> list[tuple[str, OutsideScores]]:
    """Read other tools' scores, given as NAME=FILE."""
    from synood.benchmark.protocol.outside_scores import OutsideScores

    found = []
    for word, higher_is_ood in [(w, False) for w in scores] + [(w, True) for w in anomaly_scores]:
        name, path = split_name(word)
        if name is None:
            raise InputError(f"{word!r}: write the scores of another tool as NAME=FILE")
        found.append((name, OutsideScores.read(path, higher_is_ood)))
    return found


def measured_outside(
    found: Sequence[tuple[str, OutsideScores]], evaluated: EvaluatedDetector
) -> list[Measured]:
    """Return other tools' scores of the images that could be read."""
    return [
        Measured(
            Method(name, name, f"scores of {readable(item.path)}", "inductive", ()),
            item.of_sets(evaluated.indexes),
        )
        for name, item in found
    ]


def split_name(word: str) -> tuple[str | None, Path]:
    """Split NAME=PATH; a path that exists as it is has no name."""
    name, equals, path = word.partition("=")
    if equals and name and path and not Path(word).exists():
        return name, Path(path)
    return None, Path(word)


def _said(name: str) -> str:
    return "id" if name == INSIDE else name


def _of_run(contestant: Contestant) -> ImageIndex | None:
    from synood.benchmark.protocol.training_images import learned_images

    run = run_of(contestant.path)
    why = f"{readable(contestant.path)} lies in no run"
    if run is not None:
        try:
            return learned_images(run, contestant.detector.class_names)
        except InputError as error:
            why = str(error)
    warn(
        "the training images are not known, so 1-NN, class mean, Mahalanobis++ and the linear head "
        f"are left out ({why}); give the folder per class as --train"
    )
    return None


def _training_images(
    detector: OODDetector, index: ImageIndex, progress: Progress, max_bad: float
) -> TrainingImages:
    from synood.benchmark.systems.same_encoder import TrainingImages
    from synood.labels.imagenet import same_classes

    if not same_classes(detector.class_names, index.class_names):
        warn(
            f"{readable(index.root)}: its classes are not those of the detector; the baselines are "
            "trained on other classes"
        )
    encoded = encode_index(detector, "train", index, partial(progress, "train"), None, max_bad)
    warn_of_unreadable(encoded.unreadable, "train")
    names = encoded.index.used_class_names()
    labels = np.array([names.index(str(record.label)) for record in encoded.index.records])
    return TrainingImages(encoded.features, labels, names)
