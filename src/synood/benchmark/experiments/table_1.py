"""Tables 1 and 2: every system on every OOD set, and on near and far ones."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, get_args

from synood.benchmark.experiments._recipes import as_recipe
from synood.benchmark.experiments.interface import Chart, Experiment, Outcome
from synood.benchmark.experiments.kept_scores import found_kept, inputs_of, kept
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
    without an accelerator, unless the setup names it or its scores are there. Scores are kept by
    system and seed, so that an interrupted table goes on.
    """
    scores: dict[str, list[SeedScores]] = {}
    methods: list[Method] = []
    chosen: dict[str, object] = {}
    inputs = inputs_of(setup)
    systems, absent = _systems(setup, inputs)
    advance = setup.workspace.stage("systems")
    for done, system in enumerate(systems, start=1):
        name = system.method.name
        try:
            scores[name], chosen[name] = _kept_system(setup, inputs, system)
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

        seeds = "-".join(map(str, setup.seeds))
        scores[SYNOOD_PLUS.name], _ = kept(setup, inputs, f"{SYNOOD_PLUS.name}-{seeds}", tuned)
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


def _systems(setup: Setup, inputs: str) -> tuple[list[System | StreamSystem], list[str]]:
    """Return the systems to score, and notes on those left out for their time."""
    from synood.benchmark.systems import registry

    if setup.systems:
        return [one for one in registry() if one.method.name in setup.systems], []
    on_cpu = setup.inputs.models.device == "cpu"
    slow = [one for one in registry() if on_cpu and one.slow and not _all_kept(setup, inputs, one)]
    why = "it takes hours without an accelerator; --systems {} runs it"
    notes = [_absent(one, why.format(one.method.name)) for one in slow]
    return [one for one in registry() if one not in slow], notes


def _absent(system: System | StreamSystem, why: str) -> str:
    return f"{system.method.title} is not in the table: {why}"


def _kept_system(setup: Setup, inputs: str, system: System | StreamSystem) -> Scored:
    """Score a system seed by seed; whoever interrupts it loses the seed at hand alone."""
    found = []
    advance = setup.workspace.stage("seeds")
    names = _names(setup, system)
    for done, (seed, name) in enumerate(names.items(), start=1):
        found.append(kept(setup, inputs, name, partial(setup.system, system.method.name, [seed])))
        if system.slow:
            advance(done, len(names), f"{system.method.title}, seed {seed}")
    return [one for scores, _ in found for one in scores], found[0][1]


def _all_kept(setup: Setup, inputs: str, system: System | StreamSystem) -> bool:
    names = _names(setup, system).values()
    return all(found_kept(setup, inputs, name) is not None for name in names)


def _names(setup: Setup, system: System | StreamSystem) -> dict[int, str]:
    """Under which names the scores of a system are kept, by seed."""
    seeds = setup.seeds if system.seeded else setup.seeds[:1]
    return {seed: f"{system.method.name}-{seed}" for seed in seeds}


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
