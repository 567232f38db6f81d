"""The recipe plus: the effect of each part, and of the synthetic images.

Each part is added alone to the recipe without any of them, and removed alone from all of them. All
lines share one run: its images, its words, the choices made on validation images.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from synood.benchmark.experiments.interface import Experiment, Outcome, variant
from synood.benchmark.protocol.controls import CONTROLS
from synood.benchmark.protocol.methods import NEGLABEL, SYNOOD
from synood.files import sha256_file
from synood.images.selection import rows_by_class
from synood.pipeline.recipe import RECIPES
from synood.pipeline.rundir.selection import SelectedImage
from synood.pipeline.stages.division import more_to_learn
from synood.pipeline.stages.tune import tune_weights
from synood.tuning.projection import tune_projection

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from synood.benchmark.experiments.setup import Setup
    from synood.benchmark.protocol.methods import Method
    from synood.benchmark.results.comparisons import SeedScores
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

SYNOOD_PLUS = variant("synood-plus", "SynOOD plus", f"{SYNOOD.paper}; recipe plus", SYNOOD.needs)


def run(setup: Setup) -> Outcome:
    """Tune with no part, with each part, with all, without each part, and on other images."""
    own = setup.synthetic()
    scores: dict[str, list[SeedScores]] = {NEGLABEL.name: setup.system(NEGLABEL.name)[0]}
    methods: list[Method] = [NEGLABEL]

    def add(
        name: str,
        title: str,
        parts: Iterable[str],
        images: Sequence[SyntheticImage],
        tune: TuneWeights = tune_weights,
    ) -> None:
        methods.append(variant(name, title, SYNOOD.paper, SYNOOD.needs))
        recipe = with_parts(setup.recipe, parts)
        scores[name] = scored_with(setup, title, recipe, images, tune)

    add("paper", "SynOOD, none of the parts", (), own)
    for part, title in PARTS.items():
        add(f"paper+{part}", f"and {title}", (part,), own)
    add("plus", "plus: all parts", PARTS, own)
    for part, title in PARTS.items():
        add(f"plus-{part}", f"without {title}", [p for p in PARTS if p != part], own)
    add("plus:no-pictures", "plus on no synthetic images", PARTS, own, without_images)
    for control in CONTROLS:
        add(f"plus:{control.name}", f"plus on {control.title}", PARTS, setup.paint(control))

    rows = setup.measured(methods, scores)
    compared = (
        setup.compared("paper", [NEGLABEL.name], scores, rows),
        setup.compared("plus", [m.name for m in methods if m.name != "plus"], scores, rows),
    )
    return Outcome(tuple(methods), rows, tuple(item for some in compared for item in some))


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
    "What does each part bring, alone and among the others, and do the painted images?",
    run,
    benchmark="openood",
)
