"""SynOOD itself: a detector tuned on a finished run's synthetic pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from synood.benchmark.protocol.methods import SYNOOD
from synood.benchmark.protocol.system import Fitted, System
from synood.images.sources import ImageIndex
from synood.pipeline.rundir.workspace import Workspace

if TYPE_CHECKING:
    from synood.benchmark.protocol.fit_inputs import Material


def fit_synood(material: Material, seed: int) -> Fitted:
    """Tune on the run's own synthetic pictures under `seed`; all else is as the recipe says.

    What the recipe takes over from NegLabel's choice on validation images is whoever gathers the
    material's business, so that the run was painted and is tuned under one recipe.
    """
    from synood.benchmark.protocol.retune import (  # they load torch
        Rehearsal,
        read_learnt,
        read_painted,
    )

    run = material.painted_run()
    index = ImageIndex(Path(), material.class_names, material.train.seen().records)
    painted = read_painted(run, index)
    rehearsal = Rehearsal(
        painted,
        material.class_names,
        material.models,
        material.store,
        material.recipe,
        Workspace(run),
        read_learnt(run, index),
    )
    detector = rehearsal.detector([item.synthetic for item in painted], seed)
    parts = [] if detector.projection is None else detector.projection.to_tensors().values()
    return Fitted(
        lambda encoded: detector.score_features(encoded.features),
        {"recipe": material.recipe.name, "pictures": len(painted)},
        detector.negative_features.size + sum(part.size for part in parts),
    )


SYSTEMS = (System(SYNOOD, fit_synood, seeded=True),)
