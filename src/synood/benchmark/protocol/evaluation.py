"""Measures a finished detector: on a user's own sets, or on a benchmark compared with NegLabel."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import synood
from synood.benchmark.protocol.methods import NEGLABEL, SYNOOD, Method
from synood.benchmark.protocol.readable import MAX_BAD, encode_readable
from synood.benchmark.results.published import published
from synood.benchmark.results.results import OodGroup, Results, make_row
from synood.errors import InputError
from synood.files import fingerprint
from synood.labels.class_names import class_key
from synood.labels.imagenet import class_names_by_wnid, same_classes
from synood.labels.prompts import PROMPT_SETS
from synood.scores import normalise

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np

    from synood.benchmark.suites.suite import Suite
    from synood.detector.ood_detector import OODDetector
    from synood.images.sources import ImageIndex
    from synood.progress import Progress


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

    A set without images, or with scores that are not finite, is an `InputError`.
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
    max_bad: float = MAX_BAD,
) -> Results:
    """Measure a detector on a benchmark's test sets, and NegLabel with it if it was tuned.

    NegLabel has the detector's own encoder, class names, negative labels and settings, all as
    they were before tuning. Every image is encoded once for both; `cache` is a directory that
    keeps the features, so that an interrupted call goes on where it stopped. `remarks` are
    recorded with the results, and so are unreadable images, which are skipped; more of them than
    the fraction `max_bad` of a set are an `InputError`.

    The validation sets of a benchmark are not used: a detector keeps the settings that it was
    made with.
    """
    check_classes(detector, suite)
    own = suite.one("test")
    sets = suite.ood("test")
    encoded = {
        item.name: encode_readable(detector, item, partial(progress, item.name), cache, max_bad)
        for item in (own, *sets)
    }
    compared = contenders(detector)
    rows = []
    for method, contender in compared:
        inside = contender.score_features(encoded[own.name].features)
        for ood in sets:
            outside = contender.score_features(encoded[ood.name].features)
            group: OodGroup = "near" if ood.group == "near" else "far"
            rows.append(make_row(method.name, method.kind, ood.name, group, 0, inside, outside))
    run = _run(detector, {name: one.index for name, one in encoded.items()})
    unreadable = {name: list(one.unreadable) for name, one in encoded.items() if one.unreadable}
    if unreadable:
        run["unreadable"] = unreadable
    run |= {"benchmark": suite.name, "split": suite.split, "remarks": list(remarks)}
    others = published(suite.name, [method.name for method, _ in compared])
    return Results(run, tuple(rows), tuple(row.to_json() for row in others))


def check_classes(detector: OODDetector, suite: Suite) -> None:
    """Refuse a detector of other classes than the benchmark's: its figures would mean nothing.

    A published benchmark is one of ImageNet, of which some classes may be missing on disk; a
    detector may use any naming of them.
    """
    own = {class_key(name): name for name in detector.class_names}
    known = {
        class_key(name): name
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
    """Return what is measured: the detector, and what it was before tuning, if it was tuned.

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
    """Return the detector with this preprocessing, and a remark if it was made with another.

    The scores of one preprocessing are not those of another, so neither is a threshold.
    """
    made = detector.backbone.preprocess
    if made == name:
        return detector, None
    changed = replace(detector, encoder=detector.backbone.with_preprocess(name))
    whose = "its checkpoint's own preprocessing" if made == "own" else f"preprocessing {made!r}"
    return changed, f"the detector was made with {whose} and is scored with {name!r}"


def _run(detector: OODDetector, indexes: dict[str, ImageIndex]) -> dict[str, Any]:
    """Return what was measured: another class list, encoder or image set is another result."""
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
