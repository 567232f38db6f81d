"""Measuring a finished detector: on a user's own sets, or on a benchmark beside NegLabel."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

import synood
from synood.benchmark.protocol.methods import NEGLABEL, SYNOOD, Method
from synood.benchmark.results.published import published
from synood.benchmark.results.results import OodGroup, Results, make_row
from synood.errors import InputError
from synood.features.extractor import ImageFile
from synood.features.store import FeatureStore
from synood.files import fingerprint, sha256_file
from synood.labels.imagenet import class_names_by_wnid, same_classes
from synood.labels.prompts import PROMPT_SETS
from synood.labels.wordnet import name_key
from synood.scores import normalise

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from synood.benchmark.suites.suite import ImageSet, Suite
    from synood.detector.ood_detector import OODDetector
    from synood.images.sources import ImageIndex
    from synood.progress import Progress

BATCH = 64  # images decoded at a time


@dataclass(frozen=True)
class ScoredSet:
    """A set of images under a name, and the detector's scores (N,) of them."""

    name: str
    index: ImageIndex
    scores: np.ndarray
    group: OodGroup = "far"


def evaluate_detector(
    detector: OODDetector, in_distribution: ScoredSet, ood_sets: Sequence[ScoredSet]
) -> Results:
    """Measure one row for each OOD set; equal scores give equal results.

    A set that holds no images, or scores that are no numbers, is an `InputError`.
    """
    method = method_of(detector)
    rows = tuple(
        make_row(
            method.name,
            method.kind,
            ood.name,
            ood.group,
            0,
            in_distribution.scores,
            ood.scores,
        )
        for ood in ood_sets
    )
    indexes = {one.name: one.index for one in (in_distribution, *ood_sets)}
    return Results(run=_run(detector, indexes), rows=rows)


def evaluate_suite(
    detector: OODDetector,
    suite: Suite,
    progress: Progress,
    cache: Path | None = None,
    remarks: Sequence[str] = (),
) -> Results:
    """Measure a detector on a benchmark's test sets, and NegLabel beside it where it was tuned.

    NegLabel has the detector's own encoder, class names, negative labels and settings, all as
    they were before tuning. Every image is encoded once for both; `cache` is a directory that
    keeps the features, so that an interrupted call goes on where it stopped. `remarks` are
    recorded beside the figures.

    The validation sets of a benchmark are not looked at: a detector's settings are those that it
    was made with.
    """
    check_classes(detector, suite)
    own = suite.one("test")
    sets = suite.ood("test")
    encoded = {item.name: _features(detector, item, progress, cache) for item in (own, *sets)}
    compared = contenders(detector)
    rows = []
    for method, judge in compared:
        inside = judge.score_features(encoded[own.name])
        for ood in sets:
            outside = judge.score_features(encoded[ood.name])
            group: OodGroup = "near" if ood.group == "near" else "far"
            rows.append(make_row(method.name, method.kind, ood.name, group, 0, inside, outside))
    run = _run(detector, {item.name: item.index() for item in (own, *sets)})
    run |= {"benchmark": suite.name, "split": suite.split, "remarks": list(remarks)}
    others = published(suite.name, [method.name for method, _ in compared])
    return Results(run, tuple(rows), tuple(row.to_json() for row in others))


def check_classes(detector: OODDetector, suite: Suite) -> None:
    """Refuse a detector of other classes than the benchmark's: its figures would mean nothing.

    A published benchmark is one of ImageNet, of which some classes may be missing on disk; a
    detector may use any naming of them.
    """
    own = {name_key(name): name for name in detector.class_names}
    known = {
        name_key(name): name
        for item in suite.sets
        if item.group == "id"
        for name in item.index().class_names
    }
    lacking = [name for key, name in known.items() if key not in own]
    beyond = [name for key, name in own.items() if key not in known]
    imagenet = same_classes(detector.class_names, class_names_by_wnid().values())
    if (not lacking and not (suite.by_content and beyond)) or (imagenet and not suite.by_content):
        return
    example = f"it lacks {lacking[0]!r}" if lacking else f"{beyond[0]!r} is none of the benchmark's"
    raise InputError(
        f"evaluate: the detector has {len(own)} other classes than the {len(known)} of benchmark "
        f"{suite.name!r} ({example}); make one of these classes with `synood zero-shot --benchmark "
        f"{suite.name}` or `synood fit --benchmark {suite.name}`"
    )


def contenders(detector: OODDetector) -> list[tuple[Method, OODDetector]]:
    """Return who is measured: the detector, and what it was before tuning, if it was tuned.

    With prompt sets of several templates, as CSP's, a detector does not hold its labels' prompts:
    then it is measured alone.
    """
    if method_of(detector) is NEGLABEL:
        return [(NEGLABEL, detector)]
    prompts = PROMPT_SETS.get(detector.prompt_set)
    if prompts is None or len(prompts.noun) > 1 or len(prompts.adjective) > 1:
        return [(SYNOOD, detector)]
    return [(NEGLABEL, untuned(detector)), (SYNOOD, detector)]


def method_of(detector: OODDetector) -> Method:
    """Say which method a detector is: SynOOD as soon as anything was tuned, else NegLabel."""
    tuned = detector.projection is not None or detector.tuned_rows
    return SYNOOD if tuned else NEGLABEL


def untuned(detector: OODDetector) -> OODDetector:
    """Return the NegLabel detector that tuning began from: no projection, labels as encoded.

    The prompts of the tuned labels are encoded again; each label must be its one prompt.
    """
    rows = list(detector.tuned_rows)
    features = detector.negative_features.copy()
    if rows:
        prompts = [detector.negative_prompts[row] for row in rows]
        encoder = detector.backbone.load()
        features[rows] = normalise(encoder.encode_texts(prompts), "text features")
    return replace(
        detector,
        negative_features=features,
        projection=None,
        tuned_rows=(),
        threshold=None,
        calibration=None,
        recipe="zero-shot",
    )


def with_preprocess(detector: OODDetector, name: str) -> tuple[OODDetector, str | None]:
    """Return the detector with another preprocessing, and a sentence if it was made with another.

    The scores of one preprocessing are not those of another, so neither is a threshold.
    """
    made = detector.backbone.preprocess
    if made == name:
        return detector, None
    changed = replace(detector, encoder=detector.backbone.with_preprocess(name))
    whose = "its checkpoint's own preprocessing" if made == "own" else f"preprocessing {made!r}"
    return changed, f"the detector was made with {whose} and is scored with {name!r}"


def _features(
    detector: OODDetector, item: ImageSet, progress: Progress, cache: Path | None
) -> NDArray[np.float32]:
    """Encode a set's images (N, D), telling how far it is."""
    paths = [record.path for record in item.index().records]
    backbone = detector.backbone

    def advance(done: int, total: int, message: str) -> None:
        progress(item.name, done, total, message)

    if cache is not None:
        store = FeatureStore(cache, backbone.fingerprint, backbone.load, device=backbone.device)
        return store.images([ImageFile(path, sha256_file(path)) for path in paths], advance)
    features = []
    for start in range(0, len(paths), BATCH):
        features.append(detector.embed(paths[start : start + BATCH]))
        advance(start + len(features[-1]), len(paths), "")
    return np.concatenate(features)


def _run(detector: OODDetector, indexes: dict[str, ImageIndex]) -> dict[str, Any]:
    """Say what was measured: another class list, encoder or image set is another result."""
    backbone = detector.backbone
    return {
        "detector": {
            "recipe": detector.recipe,
            "class_names": list(detector.class_names),
            "prompt_set": detector.prompt_set,
            "negatives": fingerprint(detector.negative_prompts),
        },
        "models": {
            "bundle": backbone.bundle,
            "encoder": backbone.fingerprint,
            "preprocess": backbone.preprocess,
        },
        "sets": {
            name: {"images": len(index.records), "fingerprint": _listing(index)}
            for name, index in indexes.items()
        },
        "versions": {"synood": synood.__version__, "python": platform.python_version()},
    }


def _listing(index: ImageIndex) -> str:
    return fingerprint([(record.id, record.path.stat().st_size) for record in index.records])
