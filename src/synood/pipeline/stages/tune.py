"""Tuning: cached features and their targets -> a projection and better negatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from synood.files import fingerprint, sha256_bytes
from synood.pipeline.stages.select import is_learnt
from synood.scores import normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from synood.detector.ood_detector import OODDetector
    from synood.labels.negatives import Negatives
    from synood.models.loaded import Models
    from synood.pipeline.rundir.workspace import Workspace
    from synood.pipeline.stages.select import Picture
    from synood.pipeline.stages.stages import Assignment
    from synood.progress import StageProgress
    from synood.settings import Recipe
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
        return fingerprint(hashes, self.negatives.prompts)


def tune(
    data: TuningData, recipe: Recipe, seed: int, workspace: Workspace
) -> tuple[Projection, NDArray[np.float32]]:
    """Tune the projection against frozen negatives, then the used negatives (M', D) without it.

    That order, and no projection in the second loss, is what the paper found best (§3.5, §4.3).
    """
    from synood.tuning.negatives import tune_negatives
    from synood.tuning.projection import tune_projection

    used, targets = data.assignment.used, data.assignment.targets
    everything = recipe.projection.negatives_in_loss == "all"
    projection = tune_projection(
        data.id_features,
        data.id_targets,
        data.synthetic_features,
        used[targets] if everything else targets,
        data.projection_classes,
        data.negatives.features if everything else data.negatives.features[used],
        recipe.projection,
        seed,
        callback=_told(workspace.stage("projection")),
    )
    tuned = tune_negatives(
        data.synthetic_features,
        targets,
        data.negatives.features[used],
        recipe.negatives,
        seed,
        class_features=data.class_features,
        callback=_told(workspace.stage("negatives")),
    )
    return projection, tuned


Tune: TypeAlias = (
    "Callable[[TuningData, Recipe, int, Workspace], tuple[Projection, NDArray[np.float32]]]"
)


def _told(advance: StageProgress) -> Callable[[int, int, float], None]:
    """Tell the loss of each step as a stage's progress."""
    return lambda step, steps, loss: advance(step, steps, f"loss {loss:.3f}")


def assemble(
    data: TuningData,
    recipe: Recipe,
    seed: int,
    models: Models,
    class_names: tuple[str, ...],
    workspace: Workspace,
    tune: Tune = tune,
) -> OODDetector:
    """Tune and put the detector together: mined negatives with the tuned ones in their rows.

    `tune` is another way of tuning, for comparisons.
    """
    from synood.detector.backbone import Backbone
    from synood.detector.ood_detector import OODDetector

    projection, tuned = tune(data, recipe, seed, workspace)
    negative_features = unit(data.negatives.features)
    negative_features[data.assignment.used] = unit(tuned)
    return OODDetector(
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


def calibrate(
    detector: OODDetector,
    features: NDArray[np.float32],
    pictures: Sequence[Picture],
    recipe: Recipe,
    workspace: Workspace,
) -> OODDetector:
    """Set the threshold from in-distribution images, and say so where it cannot be trusted."""
    detector = detector.calibrate(detector.score_features(features), recipe.calibration.tpr)
    if any(is_learnt(picture) for picture in pictures):
        workspace.notify(
            "calibrate",
            "too few images are left over to set the threshold: it comes from those tuned on "
            "and rejects too many new ones; set it with `synood calibrate` and other images",
        )
    elif detector.calibration and detector.calibration.warning:
        workspace.notify("calibrate", detector.calibration.warning)
    return detector


def unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale the rows of text features (N, D) to length one, as a detector holds them."""
    return normalise(features, "text features")
