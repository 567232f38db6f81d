"""Tables 1 and 2: every system on every OOD set, and on near and far ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from synood.benchmark.experiments._recipes import as_recipe
from synood.benchmark.experiments.interface import Chart, Experiment, Outcome
from synood.benchmark.experiments.plus import SYNOOD_PLUS, scored_with
from synood.benchmark.experiments.setup import Setup, measured_outcome
from synood.benchmark.protocol.methods import NEGLABEL, SYNOOD
from synood.benchmark.report.rank_chart import Ranked, in_words, rank_chart
from synood.benchmark.results.results import MethodKind
from synood.benchmark.results.tables import table
from synood.benchmark.systems.encoder_features import ENCODER_BASELINES
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.benchmark.protocol.methods import Method
    from synood.benchmark.results.comparisons import SeedScores
    from synood.benchmark.results.results import Row

RIVALS = (SYNOOD.name, "csp", *(method.name for method in ENCODER_BASELINES))
"""What plus is compared with, besides NegLabel: all of them read the encoder's features."""


def run(setup: Setup) -> Outcome:
    """Score every system of the registry, and the recipe plus next to the run's own.

    A system that needs what the bundle lacks is named in a note.
    """
    from synood.benchmark.systems import registry

    scores: dict[str, list[SeedScores]] = {}
    methods: list[Method] = []
    chosen: dict[str, object] = {}
    absent: list[str] = []
    systems = registry()
    advance = setup.workspace.stage("systems")
    for done, system in enumerate(systems, start=1):
        name = system.method.name
        try:
            scores[name], chosen[name] = setup.system(name)
            methods.append(system.method)
        except InputError as error:
            absent.append(f"{system.method.title} is not in the table: {error}")
        advance(done, len(systems), system.method.title)
    recipe = as_recipe(setup.recipe, "plus")
    plus = SYNOOD.name in scores and recipe != setup.recipe
    if plus:
        methods.insert(methods.index(SYNOOD) + 1, SYNOOD_PLUS)
        title = SYNOOD_PLUS.title
        scores[SYNOOD_PLUS.name] = scored_with(setup, title, recipe, setup.synthetic())
    outcome = measured_outcome(
        setup, methods, scores, NEGLABEL.name, details={"chosen": chosen}, notes=tuple(absent)
    )
    outcome = replace(outcome, charts=(ranking(methods, outcome.rows),))
    if not plus:
        return outcome
    others = [name for name in RIVALS if name in scores]
    more = setup.compared(SYNOOD_PLUS.name, others, scores, outcome.rows)
    return replace(outcome, comparisons=(*outcome.comparisons, *more))


def ranking(methods: Sequence[Method], rows: Sequence[Row]) -> Chart:
    """Draw every method's FPR95, inductive and test-time methods separately, best first."""
    cells = table(rows, "fpr95")
    groups: dict[str, list[Ranked]] = {kind: [] for kind in get_args(MethodKind)}
    for method in methods:
        found = cells[method.name]
        everything = found["average:all"]
        near, far = (found.get(f"average:{group}") for group in ("near", "far"))
        groups[method.kind].append(
            Ranked(
                method.title,
                everything.mean,
                everything.percent(),
                near.mean if near else None,
                far.mean if far else None,
                method.name in (SYNOOD.name, SYNOOD_PLUS.name),
            )
        )
    return Chart("fpr95-by-method", rank_chart(groups, "FPR95"), in_words(groups, "FPR95"))


TABLE_1 = Experiment(
    "table-1",
    "Table 1: methods by OOD set",
    "How does SynOOD compare with what else there is, set by set?",
    run,
)
TABLE_2 = Experiment(
    "table-2",
    "Table 2: near and far OOD",
    "Who tells near OOD apart, and who far OOD?",
    run,
    benchmark="openood",
)
