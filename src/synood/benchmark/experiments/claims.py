"""The paper's claims, tested again: is it the synthetic images, and is it their guidance?

The recipe paper, and plus with and without its evidence from images, are tuned on guided and
unguided images, on nearer ones, on jigsaws and on none. A seed draws both the noise that the images
are made from and the tuning, so each seed repeats the whole method, and intervals over seeds cover
both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from synood.benchmark.experiments._album import IMAGES, album
from synood.benchmark.experiments._gains import gains
from synood.benchmark.experiments._recipes import as_recipe
from synood.benchmark.experiments.interface import Experiment, Outcome, variant
from synood.benchmark.experiments.plus import class_images_from, without_images
from synood.benchmark.protocol.controls import JIGSAW
from synood.benchmark.protocol.methods import NEGLABEL, SYNOOD
from synood.benchmark.protocol.system import System
from synood.benchmark.report.extra_tables import ExtraTable
from synood.benchmark.systems import find_system
from synood.benchmark.systems.encoder_features import ENCODER_BASELINES
from synood.metrics import ood_metrics
from synood.pipeline.stages.tune import tune_weights
from synood.settings import EvidenceSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from synood.benchmark.experiments.setup import Setup
    from synood.benchmark.protocol.methods import Method
    from synood.benchmark.results.comparisons import SeedScores
    from synood.pipeline.rundir.shards import SyntheticImage
    from synood.settings import Recipe

    Images = Mapping[int, Sequence[SyntheticImage]]  # by seed

NEARER = 0.3  # strength of the nearer images
GUIDED, UNGUIDED, NEAR, NEAR_UNGUIDED = "guided", "unguided", "nearer", "nearer-unguided"
NONE = "none"
KINDS: Mapping[str, str] = {
    GUIDED: "guided",
    UNGUIDED: "unguided",
    NEAR: f"guided, strength {NEARER:g}",
    NEAR_UNGUIDED: f"unguided, strength {NEARER:g}",
    JIGSAW.name: "jigsaws",
    NONE: "no images",
}
"""Name -> title of what a recipe is tuned on."""
BASES: Mapping[str, str] = {"paper": "paper", "plus-text": "plus, text alone", "plus": "plus"}
"""Recipe -> title; plus without its evidence from images differs from paper in the projection."""
CLAIMS = (
    (GUIDED, UNGUIDED),
    (NEAR, NEAR_UNGUIDED),
    (NEAR, GUIDED),
    (GUIDED, JIGSAW.name),
    (GUIDED, NONE),
    (NEAR, NONE),
    (JIGSAW.name, NONE),
)
"""Of each recipe: is it better tuned on the first kind than on the second?"""


def run(setup: Setup) -> Outcome:
    """Tune each recipe on each kind of image under each seed; compare kinds, recipes and rivals."""
    painted = {name: paint(setup, name) for name in KINDS}
    rivals = (NEGLABEL, *ENCODER_BASELINES)
    found = {method.name: setup.system(method.name)[0] for method in rivals}
    methods: list[Method] = list(rivals)
    for base, words in BASES.items():
        recipe = recipe_of(setup.recipe, base)
        for name, title in KINDS.items():
            tuned = variant(f"{base}:{name}", f"{words}: {title}", SYNOOD.paper, SYNOOD.needs)
            methods.append(tuned)
            found[tuned.name] = _scored(setup, tuned.title, recipe, painted[name])
    rows = setup.measured(methods, found)
    compared = [
        item
        for method, other in pairs([method.name for method in rivals])
        for item in setup.compared(method, [other], found, rows)
    ]
    titles = {method.name: method.title for method in methods}
    return Outcome(
        tuple(methods),
        rows,
        tuple(compared),
        extra_tables=(gains(compared, titles), *_difficulty(setup)),
        images={"images.webp": album(_shown(setup, painted)), "sets.webp": album(_sets(setup))},
    )


def paint(setup: Setup, name: str) -> Images:
    """Make the images of a kind under each seed, or find them made; none for `NONE`."""
    if name == NONE:
        return {}
    if name == JIGSAW.name:
        return {seed: setup.paint(JIGSAW, seed) for seed in setup.seeds}
    guidance = replace(setup.recipe.guidance, stop_at_target=True)  # the same images, sooner
    if name in (NEAR, NEAR_UNGUIDED):
        guidance = replace(guidance, strength=NEARER)
    if name in (UNGUIDED, NEAR_UNGUIDED):
        guidance = guidance.unguided()
    return {seed: setup.repaint(name, guidance, seed) for seed in setup.seeds}


def recipe_of(recipe: Recipe, base: str) -> Recipe:
    """Return the run's recipe with what is different in one of `BASES`."""
    chosen = as_recipe(recipe, base.removesuffix("-text"))
    return chosen if base == "plus" else replace(chosen, evidence=EvidenceSettings())


def pairs(rivals: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the names of a method and of what it is compared with."""
    for base in BASES:
        yield from ((f"{base}:{GUIDED}", rival) for rival in rivals)
        yield from ((f"{base}:{first}", f"{base}:{second}") for first, second in CLAIMS)
    for kind in KINDS:
        yield f"plus-text:{kind}", f"paper:{kind}"
        yield f"plus:{kind}", f"plus-text:{kind}"
        yield f"plus:{kind}", f"paper:{kind}"


def _scored(setup: Setup, title: str, recipe: Recipe, images: Images) -> list[SeedScores]:
    """Tune under each seed on its images, and score every test set.

    Without images the projection learns the classes against all negative labels, left as mined.
    """
    class_images = class_images_from(setup, recipe.projection.images_per_class)
    retuner = setup.retuner_for(setup.pairs, recipe, class_images)
    if images:
        return setup.scored(title, lambda seed: retuner.detector(images[seed], seed, tune_weights))
    own = setup.synthetic()
    return setup.scored(title, lambda seed: retuner.detector(own, seed, without_images))


def _difficulty(setup: Setup) -> Iterator[ExtraTable]:
    """Yield how hard the validation sets are, where a suite has some."""
    system = find_system(NEGLABEL.name)
    if not len(setup.encoded.validation) or not isinstance(system, System):
        return
    scorer = system.fit(setup.inputs, setup.seeds[0])
    own = scorer(setup.encoded.validation)
    lines = []
    for item in setup.encoded.validation_ood:
        found = ood_metrics(own, scorer(item))
        lines.append((item.name, f"{100 * found.auroc:.1f}", f"{100 * found.fpr95:.1f}"))
    yield ExtraTable("NegLabel on the validation sets, %", ("", "AUROC", "FPR95"), tuple(lines))


def _shown(setup: Setup, painted: Mapping[str, Images]) -> dict[str, list[Path]]:
    """Return the images redrawn, and those of each kind under the first seed."""
    rows = {"the images redrawn": [pair.source.path for pair in setup.pairs]}
    for name, images in painted.items():
        if images:
            rows[KINDS[name]] = [one.path for one in images[setup.seeds[0]]]
    return rows


def _sets(setup: Setup) -> dict[str, list[Path]]:
    """Return some images of each set of the suite, evenly spaced."""
    rows = {}
    for item in setup.suite.sets:
        records = item.index().records
        places = [number * len(records) // IMAGES for number in range(IMAGES)]
        rows[item.name] = [records[place].path for place in places]
    return rows


CLAIMS_EXPERIMENT = Experiment(
    "claims",
    "The paper's claims, tested again",
    "Do guided synthetic images make a detector better than unguided, nearer, shuffled or none?",
    run,
    benchmark="openood",
)
