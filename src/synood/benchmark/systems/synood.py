"""SynOOD: a detector tuned on the synthetic images of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from synood.benchmark.protocol.methods import SYNOOD
from synood.benchmark.protocol.system import Fitted, System
from synood.images.sources import ImageIndex
from synood.pipeline.rundir.workspace import Workspace

if TYPE_CHECKING:
    from synood.benchmark.protocol.fit_inputs import FitInputs


def fit_synood(inputs: FitInputs, seed: int) -> Fitted:
    """Tune on the run's synthetic images under `seed`, with the recipe of the inputs.

    The recipe must already have NegLabel's choices on validation images, so that the run and the
    tuning have one recipe.
    """
    from synood.benchmark.protocol.retune import (  # they load torch
        Retuner,
        read_class_images,
        read_pairs,
    )

    run = inputs.finished_run()
    index = ImageIndex(Path(), inputs.class_names, inputs.train.require_images().records)
    pairs = read_pairs(run, index)
    retuner = Retuner(
        pairs,
        inputs.class_names,
        inputs.models,
        inputs.store,
        inputs.recipe,
        Workspace(run),
        read_class_images(run, index),
        inputs.train,
    )
    detector = retuner.detector([item.synthetic for item in pairs], seed)
    parts = [] if detector.projection is None else detector.projection.to_tensors().values()
    return Fitted(
        lambda encoded: detector.score_features(encoded.features),
        {"recipe": inputs.recipe.name, "pictures": len(pairs)},
        detector.negative_features.size + sum(part.size for part in parts),
    )


SYSTEMS = (System(SYNOOD, fit_synood, seeded=True),)
