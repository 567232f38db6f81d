"""Evidence: what in-distribution images look like, weighed against the text (docs/plus.md)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from synood.detector.evidence import PARTS
from synood.detector.fit_evidence import fit_evidence, folds
from synood.files import sha256_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from synood.detector import OODDetector
    from synood.pipeline.rundir.workspace import Workspace
    from synood.pipeline.stages.embed import Selection
    from synood.pipeline.stages.tune import TuningData
    from synood.settings import EvidenceSettings, Recipe
    from synood.tuning.projection import Projection

FEW = 20  # with fewer images that the projection has not learned from, it is tuned fold by fold


@dataclass(frozen=True)
class EvidenceImages:
    """In-distribution images whose looks are evidence.

    `features` (N, D) as the encoder gives them; `targets` (N,) rows of classes; the first `learnt`
    of them are those that the projection learns the classes from, in the same order.
    """

    features: NDArray[np.float32]
    targets: NDArray[np.int64]
    learnt: int

    def fingerprint(self) -> str:
        """Digits that change with every array."""
        arrays = (self.features, self.targets, np.array(self.learnt))
        hashes = [sha256_bytes(np.ascontiguousarray(array).tobytes()) for array in arrays]
        return sha256_bytes("".join(hashes).encode())

    @property
    def rest(self) -> slice:
        """The images that the projection has not learned from."""
        return slice(self.learnt, None)

    @property
    def enough_left(self) -> bool:
        """Whether they are enough to see how the text's evidence takes new images."""
        return len(self.features) - self.learnt >= FEW


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
    return EvidenceImages(selection.rows(images), labels, len(first))


def with_evidence(
    detector: OODDetector,
    images: EvidenceImages,
    settings: EvidenceSettings,
    tune_again: Callable[[NDArray[np.bool_]], Projection | None],
) -> tuple[OODDetector, NDArray[np.float32]]:
    """Return the detector with image evidence, and scores for calibration.

    These are of the images that the projection has not learned from, from evidence that has not
    seen them. Where there are few such images, the projection is tuned again for each fold of the
    others - `tune_again` gets a mask (learnt,) of the images to learn from - and the scores are of
    all images.
    """
    text = np.full(len(images.features), np.nan)
    text[images.rest] = detector.score_features(images.features[images.rest])
    if not images.enough_left:
        own = images.features[: images.learnt]
        text[: images.learnt] = _held_out_text(detector, images, settings.folds, tune_again, own)
    evidence, scores = fit_evidence(
        images.features, images.targets, len(detector.class_names), text=text, settings=settings
    )
    fused = replace(detector, image_evidence=evidence)
    usable = scores[images.rest] if images.enough_left else scores
    return fused, usable[np.isfinite(usable)]


def _held_out_text(
    detector: OODDetector,
    images: EvidenceImages,
    count: int,
    tune_again: Callable[[NDArray[np.bool_]], Projection | None],
    features: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return the text's log odds of the images learned from, each without having learned from it.

    A single image cannot be left out: its value is the one it has.
    """
    text = detector.score_features(features)
    if images.learnt < 2:
        return text
    fold = folds(images.targets[: images.learnt], min(count, images.learnt))
    for number in np.unique(fold):
        out = fold == number
        if not out.all():
            again = replace(detector, projection=tune_again(~out))
            text[out] = again.score_features(features[out])
    return text


def fold_of(data: TuningData, learn_from: NDArray[np.bool_]) -> TuningData:
    """Return the tuning data with some of the images, and their views, alone."""
    copies = len(data.id_features) // len(learn_from)  # the images, then each of their views
    rows = np.tile(learn_from, copies)
    return replace(data, id_features=data.id_features[rows], id_targets=data.id_targets[rows])


def evidence_line(detector: OODDetector, workspace: Workspace) -> None:
    """Say what counts how much, and what there is in place of what one class has not."""
    evidence = detector.image_evidence
    if evidence is None:
        return
    shares = evidence.weights / evidence.weights.sum()
    parts = [f"{name} {share:.0%}" for name, share in zip(PARTS, shares, strict=True) if share > 0]
    one = "" if evidence.n_classes > 1 else "; one class has no head to tell it from others"
    workspace.notify("tune", f"the score weighs {', '.join(parts)}{one}")
