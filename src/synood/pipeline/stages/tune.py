"""Tune: cached features and their targets -> a projection and better negatives (paper §3.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from synood.detector import OODDetector
from synood.detector.backbone import Backbone
from synood.detector.fit_evidence import HeldOut
from synood.detector.fused import with_evidence
from synood.errors import InputError
from synood.features.texts import class_features, unit
from synood.files import fingerprint, read_json, sha256_bytes, write_json
from synood.pipeline.rundir.workspace import Workspace
from synood.pipeline.stages.calibrate import calibrate, with_kept_threshold
from synood.pipeline.stages.evidence import evidence_images, fold_of, tell_weights
from synood.settings import identity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.detector.fused import EvidenceImages
    from synood.labels.negatives import Negatives
    from synood.labels.prompts import Prompts
    from synood.models.loaded import Models
    from synood.pipeline.stages.context import RunContext
    from synood.pipeline.stages.embed import Selection
    from synood.pipeline.stages.label_images import LabelImages
    from synood.settings import Recipe
    from synood.tuning.assignment import Assignment
    from synood.tuning.projection import Projection


@dataclass(frozen=True)
class TuningData:
    """All that tuning learns from: features as the encoder gives them, (·, D), and targets.

    `class_features` are of the prompts that score, `projection_classes` of those that the
    projection is tuned with; the authors' code has two sets of prompts.
    """

    id_features: NDArray[np.float32]
    id_targets: NDArray[np.int64]
    synthetic_features: NDArray[np.float32]
    class_features: NDArray[np.float32]
    projection_classes: NDArray[np.float32]
    negatives: Negatives
    assignment: Assignment
    images: EvidenceImages | None = None  # whose looks are evidence, for a recipe that has any
    label_images: LabelImages | None = None  # further ones, that the negatives alone learn from

    def fingerprint(self) -> str:
        """Sixteen hex digits over every array and prompt."""
        arrays = (
            self.id_features,
            self.id_targets,
            self.synthetic_features,
            self.class_features,
            self.projection_classes,
            self.negatives.features,
            self.assignment.used,
            self.assignment.targets,
        )
        hashes = [sha256_bytes(np.ascontiguousarray(array).tobytes()) for array in arrays]
        images = [] if self.images is None else [self.images.fingerprint()]
        images += [] if self.label_images is None else [self.label_images.fingerprint()]
        return fingerprint(hashes + images, self.negatives.prompts)


def tuning_data(
    recipe: Recipe,
    class_names: tuple[str, ...],
    encode_texts: Callable[[Sequence[Prompts]], NDArray[np.float32]],
    id_features: Sequence[NDArray[np.float32]],
    id_labels: Sequence[str],
    synthetic_features: NDArray[np.float32],
    negatives: Negatives,
    assignment: Assignment,
    images: EvidenceImages | None = None,
    label_images: LabelImages | None = None,
) -> TuningData:
    """Put together what tuning learns from.

    `id_features` holds (N, D) features of N in-distribution images, then of each of their views;
    `id_labels` are the N images' classes.
    """
    rows = {name: row for row, name in enumerate(class_names)}
    prompt_set = recipe.mining.prompt_set
    projection_prompts = recipe.projection.class_prompt_set or prompt_set
    return TuningData(
        id_features=np.concatenate(id_features),
        id_targets=np.array([rows[label] for _ in id_features for label in id_labels], np.int64),
        synthetic_features=synthetic_features,
        class_features=class_features(encode_texts, class_names, prompt_set),
        projection_classes=class_features(encode_texts, class_names, projection_prompts),
        negatives=negatives,
        assignment=assignment,
        images=images,
        label_images=label_images,
    )


def tune(
    run: RunContext,
    selection: Selection,
    synthetic_features: NDArray[np.float32],
    negatives: Negatives,
    assignment: Assignment,
    label_images: LabelImages | None = None,
) -> OODDetector:
    """Tune and calibrate a detector and save it; or read back the one that is there already."""
    class_images = selection.class_images()
    held_out = selection.used_for("calibrate")
    views = range(run.recipe.projection.views + 1)
    data = tuning_data(
        run.recipe,
        run.class_names,
        run.store.texts,
        [selection.rows(class_images, view) for view in views],
        [image.label for image in class_images],
        synthetic_features,
        negatives,
        assignment,
        evidence_images(run.recipe, selection, run.targets),
        label_images,
    )
    inputs = fingerprint(
        "tune",
        data.fingerprint(),
        run.models.part_fingerprint("encoder"),
        run.class_names,
        identity(run.recipe),
        [image.sha256 for image in held_out],
        run.seed,
    )
    detector = finished_detector(run, inputs)
    if detector is None:
        detector, unseen = detector_and_scores(
            data, run.recipe, run.seed, run.models, run.class_names, run.workspace
        )
        seen = unseen is None and any(image.teaches_its_class for image in held_out)
        if unseen is None:
            rows = selection.rows(held_out)
            unseen = HeldOut(detector.score_features(rows) if held_out else np.zeros(0, np.float32))
        tell_weights(detector, run.workspace)
        detector = calibrate(detector, unseen, run.recipe, run.workspace, seen=seen)
        detector = with_kept_threshold(run, detector, selection.rows(class_images))
        detector.save_pretrained(run.root / "detector")
        tuned = len(assignment.used)
        write_json(run.root / "tune.json", {"inputs": inputs, "tuned_negatives": tuned})
    return detector


def finished_detector(run: RunContext, inputs: str) -> OODDetector | None:
    """Return the detector on disk if it was made from `inputs` and is whole."""
    try:
        if read_json(run.root / "tune.json")["inputs"] != inputs:
            return None
        detector = OODDetector.from_pretrained(run.root / "detector", device=run.models.device)
    except (InputError, KeyError, TypeError):
        return None
    detector.backbone.look_in(run.models.bundle)  # which may have moved
    return detector


def tune_weights(
    data: TuningData, recipe: Recipe, seed: int, workspace: Workspace
) -> tuple[Projection | None, NDArray[np.float32]]:
    """Tune the projection against frozen negatives, then the used negatives (M', D) without it.

    That order, and no projection in the second loss, is what the paper found best (§3.5, §4.3).
    Without synthetic images no negative is used, and the projection is learnt only where all
    negatives compete in its loss: there would be nothing to tell the classes from.
    """
    from synood.tuning.negatives import tune_negatives
    from synood.tuning.projection import tune_projection

    used, targets = data.assignment.used, data.assignment.targets
    everything = recipe.projection.negatives_in_loss == "all"
    if not len(used) and not everything:
        return None, data.negatives.features[used]
    projection = tune_projection(
        data.id_features,
        data.id_targets,
        data.synthetic_features,
        used[targets] if everything else targets,
        data.projection_classes,
        data.negatives.features if everything else data.negatives.features[used],
        recipe.projection,
        seed,
        callback=_report_loss(workspace, "projection"),
    )
    if not len(used):
        return projection, data.negatives.features[used]
    images, wanted = data.synthetic_features, targets
    if data.label_images is not None:
        images = np.concatenate([images, data.label_images.features])
        wanted = np.concatenate([targets, data.label_images.targets])
    tuned = tune_negatives(
        images,
        wanted,
        data.negatives.features[used],
        recipe.negatives,
        seed,
        class_features=data.class_features,
        callback=_report_loss(workspace, "negatives"),
    )
    return projection, tuned


TuneWeights: TypeAlias = Callable[
    [TuningData, "Recipe", int, "Workspace"], tuple["Projection | None", NDArray[np.float32]]
]


def detector_and_scores(
    data: TuningData,
    recipe: Recipe,
    seed: int,
    models: Models,
    class_names: tuple[str, ...],
    workspace: Workspace,
    tune_weights: TuneWeights = tune_weights,
) -> tuple[OODDetector, HeldOut | None]:
    """Tune and put the detector together: mined negatives with the tuned ones in their rows.

    `tune_weights` is another way of tuning, for comparisons. The scores are for calibration, of
    images that the detector has not learned from, or was left without; None for a recipe without
    image evidence, whose detector can score such images itself.
    """
    projection, tuned = tune_weights(data, recipe, seed, workspace)
    negative_features = unit(data.negatives.features)
    if len(tuned):
        negative_features[data.assignment.used] = unit(tuned)
    detector = OODDetector(
        encoder=Backbone.of(models.bundle, models.encoder, models.device),
        class_names=class_names,
        prompt_set=recipe.mining.prompt_set,
        class_features=data.class_features,
        negative_prompts=data.negatives.prompts,
        negative_features=negative_features,
        projection=projection,
        settings=recipe.score,
        tuned_rows=tuple(data.assignment.used.tolist()),
        recipe=recipe.name,
    )
    if data.images is None:
        return detector, None

    def tune_again(learn_from: NDArray[np.bool_]) -> Projection | None:
        quiet = Workspace(workspace.root)
        return tune_weights(fold_of(data, learn_from), recipe, seed, quiet)[0]

    return with_evidence(detector, data.images, recipe.evidence, tune_again)


def _report_loss(workspace: Workspace, stage: str) -> Callable[[int, int, float], None]:
    """Report the loss of each step as a stage's progress, and to the run's tracker."""
    progress = workspace.stage(stage)

    def report(step: int, steps: int, loss: float) -> None:
        workspace.tracking.loss(stage, step, steps, loss)
        progress(step, steps, f"loss {loss:.3f}")

    return report
