"""The recipe plus: what each kind of evidence brings, and the synthetic images.

Each kind is taken alone and is left out of the whole; the whole is tuned on other images and on
none. All lines share one run: its images, its words, the choices made on validation images.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np

from synood.benchmark.experiments._recipes import as_recipe
from synood.benchmark.experiments.interface import Experiment, Outcome, variant
from synood.benchmark.protocol.controls import CONTROLS
from synood.benchmark.protocol.methods import NEGLABEL, SYNOOD
from synood.benchmark.systems.encoder_features import ENCODER_BASELINES
from synood.detector.evidence import PARTS as PARTS_OF_SCORE
from synood.files import sha256_file
from synood.images.selection import rows_by_class
from synood.pipeline.recipe import RECIPES
from synood.pipeline.rundir.selection import SelectedImage
from synood.pipeline.stages.division import more_to_learn
from synood.pipeline.stages.tune import tune_weights
from synood.tuning.projection import tune_projection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from synood.benchmark.experiments.setup import Setup
    from synood.benchmark.protocol.methods import Method
    from synood.benchmark.results.comparisons import SeedScores
    from synood.detector.ood_detector import OODDetector
    from synood.pipeline.rundir.shards import SyntheticImage
    from synood.pipeline.rundir.workspace import Workspace
    from synood.pipeline.stages.tune import TuneWeights, TuningData
    from synood.settings import Recipe
    from synood.tuning.projection import Projection

PARTS = {
    "images_per_class": "more images of each class",
    "views": "changed views of them",
    "negatives_in_loss": "all negatives in the projection's loss",
    "epochs": "more epochs",
    "weight_decay": "more weight decay",
}
"""The settings of the projection in which plus differs from paper, and their titles."""

EVIDENCE = {
    "plus:text": ("text alone", ("text",)),
    "plus:distance": ("distance alone", ("distance",)),
    "plus:neighbour": ("neighbour alone", ("neighbour",)),
    "plus:head": ("head alone", ("head",)),
    "plus-text": ("without text", ("distance", "neighbour", "head")),
    "plus-distance": ("without distance", ("text", "neighbour", "head")),
    "plus-neighbour": ("without neighbour", ("text", "distance", "head")),
    "plus-head": ("without head", ("text", "distance", "neighbour")),
}
"""Line -> its title, and the kinds of evidence that it weighs, as plus does."""

SYNOOD_PLUS = variant("synood-plus", "SynOOD plus", f"{SYNOOD.paper}; recipe plus", SYNOOD.needs)


def run(setup: Setup) -> Outcome:
    """Score with all evidence, with each kind alone and without each, and on other images."""
    own = setup.synthetic()
    scores: dict[str, list[SeedScores]] = {}
    methods: list[Method] = [NEGLABEL, *ENCODER_BASELINES]
    for method in methods:
        scores[method.name] = setup.system(method.name)[0]
    rivals = [method.name for method in methods]
    recipe = as_recipe(setup.recipe, "plus")

    def add(name: str, title: str, found: list[SeedScores]) -> None:
        methods.append(variant(name, title, SYNOOD.paper, SYNOOD.needs))
        scores[name] = found

    title = "SynOOD, recipe paper"
    add("paper", title, scored_with(setup, title, as_recipe(setup.recipe, "paper"), own))
    class_images = class_images_from(setup, recipe.projection.images_per_class)
    retuner = setup.retuner_for(setup.pairs, recipe, class_images)
    whole = cache(lambda seed: retuner.detector(own, seed))  # each is tuned once for all its lines
    add("plus", "plus: all evidence", setup.scored("plus", whole))
    for name, (title, kept) in EVIDENCE.items():
        detectors = partial(weighing, whole, kept)
        add(name, title, setup.scored(title, detectors))
    others = {control.name: (control.title, setup.paint(control)) for control in CONTROLS}
    for name, (title, images) in others.items():
        add(f"plus:{name}", f"plus on {title}", scored_with(setup, title, recipe, images))
    title = "plus on no synthetic images"
    add("plus:no-pictures", title, scored_with(setup, title, recipe, own, without_images))

    rows = setup.measured(methods, scores)
    compared = (
        setup.compared("paper", rivals, scores, rows),
        setup.compared("plus", [m.name for m in methods if m.name != "plus"], scores, rows),
    )
    return Outcome(tuple(methods), rows, tuple(item for some in compared for item in some))


def weighing(whole: Callable[[int], OODDetector], kept: Iterable[str], seed: int) -> OODDetector:
    """Return the detector of a seed with the weights of these kinds of evidence alone."""
    detector = whole(seed)
    evidence = detector.image_evidence
    assert evidence is not None, "the recipe plus has it"
    counts = np.array([name in kept for name in PARTS_OF_SCORE], np.float32)
    return replace(detector, image_evidence=replace(evidence, weights=counts * evidence.weights))


def scored_with(
    setup: Setup,
    title: str,
    recipe: Recipe,
    images: Sequence[SyntheticImage],
    tune: TuneWeights = tune_weights,
) -> list[SeedScores]:
    """Tune under `recipe` on `images` and the class images it asks for; score every test set."""
    class_images = class_images_from(setup, recipe.projection.images_per_class)
    retuner = setup.retuner_for(setup.pairs, recipe, class_images)
    return setup.scored(title, partial(retuner.detector, images, tune=tune))


def without_images(
    data: TuningData, recipe: Recipe, seed: int, workspace: Workspace
) -> tuple[Projection, NDArray[np.float32]]:
    """Tune the projection on in-distribution images alone, against all negatives, left as mined."""
    projection = tune_projection(
        data.id_features,
        data.id_targets,
        data.synthetic_features[:0],
        data.assignment.targets[:0],
        data.projection_classes,
        data.negatives.features,
        recipe.projection,
        seed,
    )
    return projection, data.negatives.features[data.assignment.used]


def with_parts(recipe: Recipe, parts: Iterable[str]) -> Recipe:
    """Return `recipe` with these parts of plus and the others of paper."""
    chosen = set(parts)
    plus, paper = RECIPES["plus"].projection, RECIPES["paper"].projection
    changes = {part: getattr(plus if part in chosen else paper, part) for part in PARTS}
    return replace(recipe, projection=replace(recipe.projection, **changes))


def class_images_from(setup: Setup, images_per_class: int | None) -> list[SelectedImage]:
    """Return the redrawn images, and as many others of each class as a run would add."""
    index = setup.suite.one("train").index()
    tuned = {item.source.id for item in setup.pairs}
    more: list[int] = []
    for members in rows_by_class(index.label_indices(), len(index.class_names)):
        rows = members.tolist()
        pairs = {row for row in rows if index.records[row].id in tuned}
        more += more_to_learn(rows, pairs, images_per_class)
    records = [index.records[row] for row in sorted(more)]
    return [
        *(item.source for item in setup.pairs),
        *(
            SelectedImage(r.id, r.path, str(r.label), sha256_file(r.path), 0.0, ("learn",))
            for r in records
        ),
    ]


PLUS = Experiment(
    "plus",
    "The recipe plus, part by part",
    "What does each kind of evidence bring, and what do the synthetic images?",
    run,
    benchmark="openood",
)
