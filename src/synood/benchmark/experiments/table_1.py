"""Tables 1 and 2: every system on every OOD set, and on near and far ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from synood.benchmark.experiments._recipes import as_recipe
from synood.benchmark.experiments.interface import Chart, Experiment, Outcome
from synood.benchmark.experiments.kept_scores import inputs_of, kept
from synood.benchmark.experiments.plus import SYNOOD_PLUS, scored_with
from synood.benchmark.experiments.setup import Setup, measured_outcome
from synood.benchmark.protocol.methods import NEGLABEL, SYNOOD
from synood.benchmark.report.rank_chart import Ranked, in_words, rank_chart
from synood.benchmark.results.published import published_alone
from synood.benchmark.results.results import MethodKind
from synood.benchmark.results.tables import table
from synood.benchmark.systems.encoder_features import ENCODER_BASELINES
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.benchmark.experiments.kept_scores import Scored
    from synood.benchmark.protocol.methods import Method
    from synood.benchmark.protocol.system import StreamSystem, System
    from synood.benchmark.results.comparisons import SeedScores
    from synood.benchmark.results.results import Row

RIVALS = (SYNOOD.name, "csp", *(method.name for method in ENCODER_BASELINES))
"""What plus is compared with, besides NegLabel: all of them read the encoder's features."""


def run(setup: Setup) -> Outcome:
    """Score every system of the registry, and the recipe plus next to the run's own.

    A system that needs what the bundle lacks is named in a note, and so is one that takes hours
    without an accelerator, unless the setup names it. Each system's scores are kept, so that an
    interrupted table goes on.
    """
    scores: dict[str, list[SeedScores]] = {}
    methods: list[Method] = []
    chosen: dict[str, object] = {}
    systems, absent = _systems(setup)
    inputs = inputs_of(setup)
    advance = setup.workspace.stage("systems")
    for done, system in enumerate(systems, start=1):
        name = system.method.name
        try:
            scores[name], chosen[name] = _kept_system(setup, inputs, name)
            methods.append(system.method)
        except InputError as error:
            absent.append(_absent(system, str(error)))
        advance(done, len(systems), system.method.title)
    if not methods:
        raise InputError("; ".join(absent))
    recipe = as_recipe(setup.recipe, "plus")
    plus = SYNOOD.name in scores and recipe != setup.recipe
    if plus:
        methods.insert(methods.index(SYNOOD) + 1, SYNOOD_PLUS)

        def tuned() -> Scored:
            return scored_with(setup, SYNOOD_PLUS.title, recipe, setup.synthetic()), {}

        scores[SYNOOD_PLUS.name], _ = kept(setup, inputs, SYNOOD_PLUS.name, tuned)
    against = NEGLABEL.name if NEGLABEL.name in scores else None
    outcome = measured_outcome(
        setup, methods, scores, against, details={"chosen": chosen}, notes=tuple(absent)
    )
    alone = () if setup.systems else published_alone(setup.suite.name)
    outcome = replace(outcome, charts=(ranking(methods, outcome.rows),), published=alone)
    if not plus:
        return outcome
    others = [name for name in RIVALS if name in scores]
    more = setup.compared(SYNOOD_PLUS.name, others, scores, outcome.rows)
    return replace(outcome, comparisons=(*outcome.comparisons, *more))


def _systems(setup: Setup) -> tuple[list[System | StreamSystem], list[str]]:
    """Return the systems to score, and notes on those left out for their time."""
    from synood.benchmark.systems import registry

    if setup.systems:
        return [one for one in registry() if one.method.name in setup.systems], []
    on_cpu = setup.inputs.models.device == "cpu"
    slow = [one for one in registry() if on_cpu and one.slow]
    why = "it takes hours without an accelerator; --systems {} runs it"
    notes = [_absent(one, why.format(one.method.name)) for one in slow]
    return [one for one in registry() if one not in slow], notes


def _absent(system: System | StreamSystem, why: str) -> str:
    return f"{system.method.title} is not in the table: {why}"


def _kept_system(setup: Setup, inputs: str, name: str) -> Scored:
    return kept(setup, inputs, name, lambda: setup.system(name))


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
