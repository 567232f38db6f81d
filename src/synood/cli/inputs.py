"""What commands are given - names of files, sets and benchmarks - as the objects they stand for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from synood.cli.console import warn
from synood.detector.ood_detector import OODDetector
from synood.errors import InputError
from synood.features.unreadable import check_unreadable
from synood.files import read_jsonl, sha256_bytes
from synood.images.decoding import image_bytes
from synood.images.listing import listed_images
from synood.images.sources import read_class_names
from synood.labels.checks import class_name_warnings
from synood.models.device import pick_device

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from synood.benchmark.results.results import OodGroup
    from synood.cli.options import BenchmarkOptions
    from synood.images.sources import ImageIndex
    from synood.models.bundles import Bundle
    from synood.progress import Progress
    from synood.settings import MiningSettings


_TAKEN = {"id", "in-distribution", "average"}  # names that results use


def load_detector(path: Path, device: str, models: str | None = None) -> OODDetector:
    """Read a detector directory; `models` is where its bundle lies now."""
    return OODDetector.from_pretrained(path, models, pick_device(device))


def class_names(classes: Path | None, data: BenchmarkOptions) -> list[str]:
    """Read class names from a file or take those of a benchmark."""
    if (classes is None) == (data.benchmark is None):
        raise InputError("class names: give either a file (--classes FILE) or --benchmark")
    if classes is None:
        from synood.benchmark.suites.layouts import class_names_of

        return class_names_of(str(data.benchmark), data.root, data.names)
    names = read_class_names(classes)
    return list(names.values()) if isinstance(names, dict) else names


def preprocessed(models: str, preset: str | None) -> str:
    """Return a bundle's name with a preprocessing for its encoder."""
    return models if preset is None else f"{models}+encoder.preprocess={preset}"


def mining_assignments(share: float | None, assignments: Sequence[str]) -> tuple[str, ...]:
    """Return the assignments with --share as one of them."""
    return with_warnings((*assignments, *(() if share is None else (f"mining.share={share}",))))


def with_warnings(assignments: Sequence[str]) -> tuple[str, ...]:
    """Return the assignments; warn where one replaces the value that another gave a field."""
    from synood.pipeline.recipe import assigned_fields

    seen: set[str] = set()
    for assignment in assignments:
        fields = assigned_fields([assignment])
        if twice := sorted(fields & seen):
            warn(f"{twice[0]} is set twice; {assignment} counts")
        seen |= fields
    return tuple(assignments)


def mining_of(bundle: Bundle, assignments: Sequence[str]) -> MiningSettings:
    """Return the mining settings of recipe `paper` for a bundle, with changes.

    A field of another section, which would have no effect, is an `InputError`.
    """
    from synood.pipeline.recipe import assigned_fields, resolve_recipe

    recipe = resolve_recipe("paper", bundle.recipe_without_inpainter, assignments)
    other = sorted(key for key in assigned_fields(assignments) if not key.startswith("mining."))
    if other:
        raise InputError(f"--set {other[0]}: has no effect here; only fields of mining have one")
    return recipe.mining


def warn_of_names(names: Sequence[str]) -> None:
    """Warn where names look like something other than names of classes."""
    for sentence in class_name_warnings(names):
        warn(sentence)


def warn_of_encoder(bundle: Bundle, names: Sequence[str], images: ImageIndex | None = None) -> None:
    """Warn where the encoder of a bundle is out of its depth: with photographs, or with names.

    Without `images`, from class names alone, what it is for is told in any case.
    """
    from synood.images.photographs import look_like_photographs
    from synood.models.reach import DRAWINGS, knows_drawings_alone, name_remarks

    if knows_drawings_alone(bundle) and (images is None or look_like_photographs(images)):
        warn(f"{DRAWINGS}; use --models photo for photographs")
    for sentence in name_remarks(bundle, names):
        warn(sentence)


def warn_of_photographs(detector: OODDetector, images: ImageIndex) -> None:
    """Warn where photographs are to be scored by an encoder that knows drawings."""
    warn_of_encoder_name(detector.backbone.bundle, images)


def warn_of_encoder_name(name: str, images: ImageIndex) -> None:
    """Warn of the same, given the name of the bundle that the encoder is of."""
    from synood.images.photographs import look_like_photographs
    from synood.models.reach import DRAWINGS, backbone_knows_drawings_alone

    if backbone_knows_drawings_alone(name) and look_like_photographs(images):
        warn(f"{DRAWINGS}: these look like photographs; make the detector with --models photo")


def ood_sets(far: Sequence[str], near: Sequence[str]) -> list[tuple[str, ImageIndex, OodGroup]]:
    """List the images of every NAME=PATH; a bad form or a name given twice is an `InputError`."""
    sets: list[tuple[str, ImageIndex, OodGroup]] = []
    groups: tuple[tuple[OodGroup, Sequence[str]], ...] = (("near", near), ("far", far))
    for group, text in [(group, text) for group, texts in groups for text in texts]:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise InputError(f"{text!r}: write a set of images as NAME=PATH")
        if name.casefold() in _TAKEN:
            raise InputError(f"{text!r}: the tables have another meaning for {name!r}; rename it")
        if name in {known for known, _, _ in sets}:
            raise InputError(f"{text!r}: another set of images is named {name!r} already")
        sets.append((name, listed_images([path]), group))
    if not sets:
        raise InputError("evaluate: give at least one set of images as --ood NAME=PATH")
    return sets


@dataclass(frozen=True)
class Scored:
    """The readable images of an index, their scores (N,), and why others are unreadable.

    `labels` (N,) are the predicted classes, `image_evidence` (N,) as in `Prediction`.
    """

    index: ImageIndex
    scores: NDArray[np.float32]
    unreadable: tuple[str, ...]
    labels: tuple[str, ...]
    image_evidence: list[float] | None


def score_images(
    detector: OODDetector, index: ImageIndex, name: str, progress: Progress, max_bad: float
) -> Scored:
    """Score the images of an index; more unreadable ones than `max_bad` are an `InputError`."""
    from synood.detector.prediction import image_evidence_of
    from synood.pipeline.executors.local import LocalExecutor
    from synood.pipeline.scoring import predict_index

    found = predict_index(detector, index, LocalExecutor(), partial(progress, name))
    unreadable = tuple(prediction.error for prediction in found if prediction.error)
    check_unreadable(name, unreadable, len(found), max_bad)
    if unreadable:
        pairs = zip(index.records, found, strict=True)
        kept = [record for record, prediction in pairs if not prediction.error]
        index = replace(index, records=tuple(kept))
    good = [prediction for prediction in found if not prediction.error]
    scores = np.array([prediction.score for prediction in good], np.float32)
    labels = tuple(prediction.label for prediction in good)
    return Scored(index, scores, unreadable, labels, image_evidence_of(good))


def check_fraction(max_bad: float) -> None:
    """Raise an `InputError` unless --max-bad is a fraction."""
    if not 0 <= max_bad <= 1:
        raise InputError(f"--max-bad: must be from 0 to 1 (0.05, not 5), not {max_bad}")


def run_of(detector: Path) -> Path | None:
    """Return the run directory that a detector lies in, None for a detector by itself."""
    parent = detector.resolve().parent
    return parent if (parent / "run.toml").is_file() else None


def tuned_images(detector: Path, index: ImageIndex) -> list[str]:
    """Return the ids of images that the detector learned from, by content, where its run tells."""
    run = run_of(detector)
    if run is None or not (run / "select.jsonl").is_file():
        return []
    rows = read_jsonl(run / "select.jsonl")
    tuned = {row["sha256"] for row in rows if {"tune", "learn", "evidence"} & {*row["uses"]}}
    return [record.id for record in index.records if _sha256(record.path) in tuned]


def warn_of_tuned_images(detector: Path, index: ImageIndex) -> None:
    """Warn where in-distribution images to measure with are those that the detector learned."""
    known = tuned_images(detector, index)
    if known:
        warn(
            f"the detector was tuned on {len(known)} of these {len(index.records)} images, "
            f"such as {', '.join(known[:3])}: it knows them better than new ones"
        )


def _sha256(path: Path) -> str | None:
    try:
        return sha256_bytes(image_bytes(path))
    except InputError:  # scoring says what is wrong with it
        return None
