"""Table 5: projection and labels tuned jointly, or in turn with and without the projection."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from synood.benchmark.experiments.interface import Experiment, Outcome, variant
from synood.benchmark.experiments.setup import Setup, measured_outcome
from synood.benchmark.protocol.methods import NEGLABEL, SYNOOD
from synood.pipeline.stages.tune import tune_weights as apart
from synood.tuning.joint import tune_jointly
from synood.tuning.negatives import tune_negatives

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from synood.pipeline.rundir.workspace import Workspace
    from synood.pipeline.stages.tune import TuneWeights, TuningData
    from synood.settings import Recipe
    from synood.tuning.projection import Projection

    Tuned = tuple[Projection, NDArray[np.float32]]

    from synood.benchmark.protocol.methods import Method
    from synood.benchmark.results.comparisons import SeedScores


def through_projection(data: TuningData, recipe: Recipe, seed: int, workspace: Workspace) -> Tuned:
    """Tune the projection, then the used negatives on projected images."""
    projection, _ = apart(data, recipe, seed, workspace)
    assert projection is not None, "there are synthetic images to tune it on"
    used, targets = data.assignment.used, data.assignment.targets
    tuned = tune_negatives(
        projection.apply(data.synthetic_features),
        targets,
        data.negatives.features[used],
        recipe.negatives,
        seed,
        class_features=data.class_features,
    )
    return projection, tuned


def jointly(data: TuningData, recipe: Recipe, seed: int, workspace: Workspace) -> Tuned:
    """Tune both in one loop."""
    used, targets = data.assignment.used, data.assignment.targets
    return tune_jointly(
        data.id_features,
        data.id_targets,
        data.synthetic_features,
        targets,
        data.projection_classes,
        data.negatives.features[used],
        recipe.projection,
        recipe.negatives,
        seed,
    )


WAYS: dict[str, tuple[str, TuneWeights]] = {
    "joint": ("joint", jointly),
    "through-projection": ("step by step, labels through the projection", through_projection),
    "apart": ("step by step, labels without it (the paper's choice)", apart),
}


def run(setup: Setup) -> Outcome:
    """Tune in each of the three ways, under each seed."""
    scores: dict[str, list[SeedScores]] = {NEGLABEL.name: setup.system(NEGLABEL.name)[0]}
    methods: list[Method] = [NEGLABEL]
    images = setup.synthetic()
    for way, (title, tune) in WAYS.items():
        line = variant(f"synood:{way}", title, SYNOOD.paper, SYNOOD.needs)
        methods.append(line)
        scores[line.name] = setup.scored(title, partial(setup.retuner.detector, images, tune=tune))
    return measured_outcome(setup, methods, scores, NEGLABEL.name)


TABLE_5 = Experiment(
    "table-5",
    "Table 5: joint or step by step",
    "Should the projection and the labels be tuned together?",
    run,
)
