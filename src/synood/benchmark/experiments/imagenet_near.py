"""ImageNet with near OOD: text evidence beside image evidence, on one encoder.

Negative labels carry far OOD there and distances near OOD (Mahalanobis++ on NINCO); how far each of
them, and both together in the recipe plus, get with the features of CLIP is the question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.benchmark.experiments._recipes import as_recipe
from synood.benchmark.experiments.interface import Experiment, Outcome
from synood.benchmark.experiments.plus import SYNOOD_PLUS, scored_with
from synood.benchmark.protocol.methods import MCM, NEGLABEL, SYNOOD
from synood.benchmark.systems.encoder_features import ENCODER_BASELINES

if TYPE_CHECKING:
    from synood.benchmark.experiments.setup import Setup
    from synood.benchmark.results.comparisons import Comparison, SeedScores

COMPARED = (MCM, NEGLABEL, *ENCODER_BASELINES)
OURS = (SYNOOD, SYNOOD_PLUS)


def run(setup: Setup) -> Outcome:
    """Score text alone, images alone, and both recipes; compare each recipe with all others."""
    scores: dict[str, list[SeedScores]] = {}
    chosen: dict[str, object] = {}
    for method in COMPARED:
        scores[method.name], chosen[method.name] = setup.system(method.name)
    for method, name in zip(OURS, ("paper", "plus"), strict=True):
        recipe = as_recipe(setup.recipe, name)
        scores[method.name] = scored_with(setup, method.title, recipe, setup.synthetic())
    methods = (*COMPARED, *OURS)
    rows = setup.measured(methods, scores)
    plain = [method.name for method in COMPARED]
    comparisons: tuple[Comparison, ...] = ()
    for method, others in ((SYNOOD, plain), (SYNOOD_PLUS, [*plain, SYNOOD.name])):
        comparisons += setup.compared(method.name, others, scores, rows)
    seen = len(setup.inputs.train)
    note = (
        f"The encoder's baselines and the image evidence of plus learn from {seen:,} training "
        "images; Mahalanobis++ was published with all of ImageNet's."
    )
    return Outcome(methods, rows, comparisons, details={"chosen": chosen}, notes=(note,))


IMAGENET_NEAR = Experiment(
    "imagenet-near",
    "ImageNet with near OOD: text evidence beside image evidence",
    "What do names, distances and both together say of NINCO and SSB-hard, and of far OOD?",
    run,
    benchmark="imagenet-near",
)
