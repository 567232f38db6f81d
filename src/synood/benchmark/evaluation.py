"""One detector on a user's own sets of images: scores in, `results.json` out."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import synood
from synood.benchmark.methods import NEGLABEL, SYNOOD
from synood.benchmark.results import Group, Results, make_row
from synood.files import fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from synood.detector import OODDetector
    from synood.images.sources import ImageIndex


@dataclass(frozen=True)
class ScoredSet:
    """A set of images under a name, and the detector's scores (N,) of them."""

    name: str
    index: ImageIndex
    scores: np.ndarray
    group: Group = "far"


def evaluate_detector(
    detector: OODDetector, in_distribution: ScoredSet, ood_sets: Sequence[ScoredSet]
) -> Results:
    """Measure one row for each OOD set; equal scores give equal results.

    A set that holds no images, or scores that are no numbers, is an `InputError`.
    """
    method = SYNOOD if detector.projection is not None or detector.tuned_rows else NEGLABEL
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
    return Results(run=_run(detector, (in_distribution, *ood_sets)), rows=rows)


def _run(detector: OODDetector, sets: Sequence[ScoredSet]) -> dict[str, Any]:
    """Say what was measured: another class list, encoder or image set is another result."""
    backbone = detector.backbone
    return {
        "detector": {
            "recipe": detector.recipe,
            "class_names": list(detector.class_names),
            "prompt_set": detector.prompt_set,
            "negatives": fingerprint(detector.negative_prompts),
        },
        "models": {"bundle": backbone.bundle, "encoder": backbone.fingerprint},
        "sets": {
            one.name: {"images": len(one.index.records), "fingerprint": _listing(one.index)}
            for one in sets
        },
        "versions": {"synood": synood.__version__, "python": platform.python_version()},
    }


def _listing(index: ImageIndex) -> str:
    return fingerprint([(record.id, record.path.stat().st_size) for record in index.records])
