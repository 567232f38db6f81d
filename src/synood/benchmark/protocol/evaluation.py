"""What a finished detector is measured as, what it was before tuning, and what is recorded."""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import synood
from synood.benchmark.protocol.methods import NEGLABEL, SYNOOD, Method
from synood.detector.identity import score_fingerprint
from synood.errors import InputError
from synood.files import fingerprint
from synood.labels.class_names import class_key
from synood.labels.imagenet import class_names_by_wnid, same_classes
from synood.labels.prompts import PROMPT_SETS
from synood.scores import normalise

if TYPE_CHECKING:
    from synood.benchmark.suites.suite import Suite
    from synood.detector.ood_detector import OODDetector
    from synood.images.sources import ImageIndex


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
    """Say which method a detector is: NegLabel if it learned nothing from images, else SynOOD."""
    learned = detector.projection is not None or detector.image_evidence is not None
    return SYNOOD if learned or detector.tuned_rows else NEGLABEL


def untuned(detector: OODDetector) -> OODDetector:
    """Return the NegLabel detector that tuning began from: texts as encoded, and nothing else.

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
        image_evidence=None,
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
    if made == ("own" if name == "exact" else name):
        return detector, None
    changed = replace(detector, encoder=detector.backbone.with_preprocess(name))
    whose = "its checkpoint's own preprocessing" if made == "own" else f"preprocessing {made!r}"
    return changed, f"the detector was made with {whose} and is scored with {name!r}"


def record_of(detector: OODDetector, indexes: dict[str, ImageIndex]) -> dict[str, Any]:
    """Return what was measured: another class list, fit, encoder or image set is another."""
    backbone = detector.backbone
    return {
        "detector": {
            "recipe": detector.recipe,
            "class_names": list(detector.class_names),
            "prompt_set": detector.prompt_set,
            "negatives": fingerprint(detector.negative_prompts),
            "scores": score_fingerprint(detector),
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
