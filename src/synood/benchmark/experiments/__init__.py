"""The paper's tables and figures, one module each, as `synood reproduce` runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.errors import InputError

if TYPE_CHECKING:
    from synood.benchmark.experiments.interface import Experiment


def experiments() -> dict[str, Experiment]:
    """Return all experiments by name, the paper's first and in its order."""
    from synood.benchmark.experiments.boundary import BOUNDARY
    from synood.benchmark.experiments.claims import CLAIMS_EXPERIMENT
    from synood.benchmark.experiments.cost import COST
    from synood.benchmark.experiments.figure_3 import FIGURE_3
    from synood.benchmark.experiments.figure_4 import FIGURE_4
    from synood.benchmark.experiments.ideas import IDEAS_EXPERIMENT
    from synood.benchmark.experiments.imagenet_near import IMAGENET_NEAR
    from synood.benchmark.experiments.plus import PLUS
    from synood.benchmark.experiments.steps import STEPS
    from synood.benchmark.experiments.table_1 import TABLE_1, TABLE_2
    from synood.benchmark.experiments.table_3 import TABLE_3
    from synood.benchmark.experiments.table_4 import TABLE_4
    from synood.benchmark.experiments.table_5 import TABLE_5

    paper = (TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5, FIGURE_3, FIGURE_4, COST)
    ours = (PLUS, BOUNDARY, IDEAS_EXPERIMENT, CLAIMS_EXPERIMENT, STEPS, IMAGENET_NEAR)
    return {item.name: item for item in (*paper, *ours)}


def find_experiment(name: str) -> Experiment:
    """Return the experiment called `name`; an unknown name is an `InputError` that lists them."""
    known = experiments()
    if name not in known:
        raise InputError(f"experiment {name!r} is unknown; use one of {', '.join(known)}")
    return known[name]
