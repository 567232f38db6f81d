"""Evidence: what in-distribution images look like, weighed against the text (docs/plus.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from synood.detector.evidence import PARTS
from synood.detector.fused import EvidenceImages

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from synood.detector import OODDetector
    from synood.pipeline.rundir.workspace import Workspace
    from synood.pipeline.stages.embed import Selection
    from synood.pipeline.stages.tune import TuningData
    from synood.settings import Recipe


def evidence_images(
    recipe: Recipe, selection: Selection, targets: Callable[[list[str]], NDArray[np.int64]]
) -> EvidenceImages | None:
    """Return the images that the recipe's evidence learns from, None if it has none from images."""
    if not recipe.evidence.from_images:
        return None
    first = selection.class_images()
    known = {image.id for image in first}
    images = [*first, *(i for i in selection.used_for("evidence") if i.id not in known)]
    labels = targets([image.label for image in images])
    calibrate = np.array(["calibrate" in image.uses for image in images], bool)
    return EvidenceImages(selection.rows(images), labels, len(first), calibrate)


def fold_of(data: TuningData, learn_from: NDArray[np.bool_]) -> TuningData:
    """Return the tuning data with some of the images, and their views, alone."""
    copies = len(data.id_features) // len(learn_from)  # the images, then each of their views
    rows = np.tile(learn_from, copies)
    return replace(data, id_features=data.id_features[rows], id_targets=data.id_targets[rows])


def tell_weights(detector: OODDetector, workspace: Workspace) -> None:
    """Say what counts how much, and what there is in place of what one class has not."""
    evidence = detector.image_evidence
    if evidence is None:
        return
    shares = evidence.weights / evidence.weights.sum()
    parts = [f"{name} {share:.0%}" for name, share in zip(PARTS, shares, strict=True) if share > 0]
    one = "" if evidence.n_classes > 1 else "; of one class, images tell more than its name"
    workspace.notify("tune", f"the score weighs {', '.join(parts)}{one}")
