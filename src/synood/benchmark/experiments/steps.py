"""Guidance in each denoising step against the paper's rounds and against none.

The size of a step and how many are guided are chosen on validation images, under the first seed;
then each kind is made and tuned on under every seed, which draws the images' noise and the tuning.
A recipe whose `guidance.method` is "step" is taken as it is: nothing is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from synood.benchmark.experiments._album import album
from synood.benchmark.experiments._gains import gains
from synood.benchmark.experiments.interface import Experiment, Outcome, variant
from synood.benchmark.experiments.setup import scorer_of
from synood.benchmark.protocol.methods import NEGLABEL, SYNOOD
from synood.benchmark.report.extra_tables import ExtraTable
from synood.errors import InputError
from synood.metrics import ood_metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synood.benchmark.experiments.setup import Setup
    from synood.benchmark.results.comparisons import SeedScores
    from synood.detector.ood_detector import OODDetector
    from synood.pipeline.rundir.shards import SyntheticImage
    from synood.settings import GuidanceSettings

MUS = (0.1, 0.3, 1.0)
GUIDED_STEPS = (None, 4)  # None: all of them
ROUNDS, UNGUIDED, STEP = "rounds", "unguided", "step"
TITLES: Mapping[str, str] = {ROUNDS: "guided in rounds", UNGUIDED: "unguided"}
PAIRS = (
    *((name, NEGLABEL.name) for name in (ROUNDS, UNGUIDED, STEP)),
    (STEP, UNGUIDED),
    (STEP, ROUNDS),
    (ROUNDS, UNGUIDED),
)


@dataclass(frozen=True, eq=False)
class Candidate:
    """One way of guiding, its images under the first seed, and what validation images say of it."""

    name: str
    title: str
    guidance: GuidanceSettings
    images: Sequence[SyntheticImage]
    fpr95: float  # mean over the validation sets, fractions
    auroc: float


def run(setup: Setup) -> Outcome:
    """Choose the steps on validation images; make and tune on each kind under each seed."""
    if not len(setup.encoded.validation):
        raise InputError("experiment 'steps': chooses on validation images; use a mini benchmark")
    rounds = replace(setup.recipe.guidance, method="rounds", stop_at_target=True)
    fixed = [
        _candidate(setup, ROUNDS, TITLES[ROUNDS], rounds),  # stopping changes no image
        _candidate(setup, UNGUIDED, TITLES[UNGUIDED], rounds.unguided()),
    ]
    tried = [_step(setup, guidance) for guidance in _ways(setup.recipe.guidance)]
    chosen = min(tried, key=lambda one: (one.fpr95, -one.auroc))
    kinds = {ROUNDS: fixed[0], UNGUIDED: fixed[1], STEP: chosen}
    found = {name: _scored(setup, kind) for name, kind in kinds.items()}
    found[NEGLABEL.name] = setup.system(NEGLABEL.name)[0]
    lines = [variant(name, kind.title, SYNOOD.paper, SYNOOD.needs) for name, kind in kinds.items()]
    methods = (NEGLABEL, *lines)
    rows = setup.measured(methods, found)
    compared = [item for one, other in PAIRS for item in setup.compared(one, [other], found, rows)]
    titles = {method.name: method.title for method in methods}
    sources = {"the images redrawn": [pair.source.path for pair in setup.pairs]}
    shown = {kind.title: [one.path for one in kind.images] for kind in (*fixed, *tried)}
    choice = {"mu": chosen.guidance.mu, "guided_steps": chosen.guidance.guided_steps}
    return Outcome(
        methods,
        rows,
        tuple(compared),
        details={"chosen": choice},
        extra_tables=(_validation(setup, (*fixed, *tried), chosen), gains(compared, titles)),
        images={"images.webp": album({**sources, **shown})},
    )


def _ways(guidance: GuidanceSettings) -> list[GuidanceSettings]:
    """Return the ways of guiding steps to choose from: the recipe's own if it guides steps."""
    if guidance.method == "step":
        return [guidance]
    plain = replace(guidance, method="step", stop_at_target=False)
    return [replace(plain, mu=mu, guided_steps=last) for mu in MUS for last in GUIDED_STEPS]


def _step(setup: Setup, guidance: GuidanceSettings) -> Candidate:
    mu, last = guidance.mu, guidance.guided_steps
    steps = "every step" if last is None else f"last {last} steps"
    return _candidate(setup, f"{STEP}-{mu:g}-{last or 'all'}", f"{steps}, mu {mu:g}", guidance)


def _candidate(setup: Setup, name: str, title: str, guidance: GuidanceSettings) -> Candidate:
    """Make images under the first seed, tune on them, and score the validation images."""
    seed = setup.seeds[0]
    images = setup.repaint(name, guidance, seed)
    score = scorer_of(setup.retuner.detector(images, seed))
    own = score(setup.encoded.validation)
    measured = [ood_metrics(own, score(item)) for item in setup.encoded.validation_ood]
    fpr95, auroc = (
        float(np.mean([getattr(one, name) for one in measured])) for name in ("fpr95", "auroc")
    )
    return Candidate(name, title, guidance, images, fpr95, auroc)


def _scored(setup: Setup, kind: Candidate) -> list[SeedScores]:
    """Make a kind under each seed, tune on it, and score every test set."""

    def tuned(seed: int) -> OODDetector:
        return setup.retuner.detector(setup.repaint(kind.name, kind.guidance, seed), seed)

    return setup.scored(kind.title, tuned)


def _validation(setup: Setup, kinds: Sequence[Candidate], chosen: Candidate) -> ExtraTable:
    """Return what was chosen from, and where the images of each kind are by the guide."""
    quantile = setup.recipe.guidance.target_quantile
    lines = []
    for kind in kinds:
        target = kind.guidance.target
        if quantile is not None:
            target = float(np.quantile([item.source_energy for item in kind.images], quantile))
        first, last = (
            100 * np.mean([item.energies[place] >= target for item in kind.images])
            for place in (0, -1)
        )
        mark = " (chosen)" if kind is chosen else ""
        figures = (100 * kind.fpr95, 100 * kind.auroc, first, last)
        lines.append((f"{kind.title}{mark}", *(f"{figure:.1f}" for figure in figures)))
    head = ("", "FPR95", "AUROC", "beyond the target at first", "at the end")
    title = (
        "Validation, first seed, %: FPR95 and AUROC averaged over its OOD sets; images beyond the "
        "target when they are first judged (after a round, or as the first guided step predicts "
        "them) and in the end"
    )
    return ExtraTable(title, head, tuple(lines))


STEPS = Experiment(
    "steps",
    "Guidance in each denoising step",
    "Is one rendering that is guided in each step as good as three rounds, or as no guidance?",
    run,
    benchmark="openood",
)
