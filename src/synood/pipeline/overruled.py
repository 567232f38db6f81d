"""Recipe fields that have no effect since another field overrules them."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import TYPE_CHECKING

from synood.pipeline.recipe import assigned_fields
from synood.settings import DescribeSettings, GuidanceSettings, NegativeSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from _typeshed import DataclassInstance

    from synood.settings import ProjectionSettings, Recipe


_OF_CANDIDATES = {"mining.pool", "mining.seed", "mining.share", "mining.quantile",
                  "mining.max_similarity"}  # fmt: skip


def overruled(recipe: Recipe, assignments: Iterable[str], class_sizes: Sequence[int]) -> list[str]:
    """Return a sentence for each assigned field that changes nothing, since another overrules it.

    `class_sizes` are the numbers of images of each class, on which the steps of tuning depend.

    >>> from synood.settings import NegativeSettings, Recipe
    >>> overruled(Recipe("r", negatives=NegativeSettings(min_steps=100)), ["negatives.epochs=9"],
    ...           [50, 50])
    ['negatives.epochs changes nothing here: negatives.min_steps = 100 overrules it']
    """
    fields_given = assigned_fields(assignments)
    found = {
        given: f"{given} changes nothing here: {other} = {_value_at(recipe, other)} overrules it"
        for given, other, applies in reversed(_OVERRULED)
        if given in fields_given and applies(recipe, class_sizes)
    }
    return list(reversed(found.values()))


def overruled_by_labels(assignments: Iterable[str]) -> list[str]:
    """Return a sentence for each assigned field that matters only where labels are mined.

    >>> overruled_by_labels(["mining.share=0.5", "mining.exclude_class_names=false"])
    ['mining.share changes nothing here: the negative labels are given, not mined']
    """
    return [
        f"{given} changes nothing here: the negative labels are given, not mined"
        for given in sorted(assigned_fields(assignments) & _OF_CANDIDATES)
    ]


def _steps_overrule_epochs(settings: ProjectionSettings | NegativeSettings, rows: int) -> bool:
    steps = settings.epochs * math.ceil(rows / settings.batch_size)
    return settings.min_steps is not None and steps < settings.min_steps


def _redrawn(recipe: Recipe, class_sizes: Sequence[int]) -> int:
    """Return how many images are redrawn, and so how many synthetic images there are."""
    return sum(min(recipe.select.per_class, size) for size in class_sizes)


def _learnt(recipe: Recipe, class_sizes: Sequence[int]) -> int:
    """Return how many rows the projection is tuned on."""
    wanted = max(recipe.select.per_class, recipe.projection.images_per_class or 0)
    images = sum(min(wanted, size) for size in class_sizes)
    return images * (1 + recipe.projection.views) + _redrawn(recipe, class_sizes)


def _is_of_other(method: str) -> Callable[[Recipe, Sequence[int]], bool]:
    return lambda recipe, _: recipe.guidance.method != method


def _not_inpainted(recipe: Recipe, _: Sequence[int]) -> bool:
    return recipe.synthesis.method != "inpaint"


def _fields(section: type[DataclassInstance], name: str) -> list[str]:
    return [f"{name}.{field.name}" for field in fields(section)]


_OF_INPAINTING = (
    *_fields(GuidanceSettings, "guidance"),
    *_fields(DescribeSettings, "describe"),
    "probe.per_class",
)
_OF_METHOD = {
    "rounds": ("rounds", "step_size", "renormalise"),
    "step": ("mu", "sigma", "guided_steps"),
}
# field, the field that overrules it, and when
_OVERRULED: tuple[tuple[str, str, Callable[[Recipe, Sequence[int]], bool]], ...] = (
    *((given, "synthesis.method", _not_inpainted) for given in _OF_INPAINTING),
    *(
        (given, "synthesis.method", lambda recipe, _: recipe.synthesis.method == "none")
        for given in _fields(NegativeSettings, "negatives")
    ),
    *(
        (given, "mining.labels", lambda recipe, _: recipe.mining.labels == "released")
        for given in sorted(_OF_CANDIDATES)
    ),
    ("mining.seed", "mining.pool", lambda recipe, _: recipe.mining.pool == "neglabel"),
    ("score.seed", "score.groups", lambda recipe, _: recipe.score.groups == 1),
    ("evidence.head_penalty", "evidence.head", lambda recipe, _: recipe.evidence.head == 0),
    (
        "guidance.target",
        "guidance.target_quantile",
        lambda recipe, _: recipe.guidance.target_quantile is not None,
    ),
    (
        "guidance.temperature",
        "guidance.objective",
        lambda recipe, _: recipe.guidance.objective == "margin",
    ),
    (
        "guidance.step_size",
        "guidance.rounds",
        lambda recipe, _: recipe.guidance.rounds == 1 and recipe.guidance.method == "rounds",
    ),
    *(
        (f"guidance.{field}", "guidance.method", _is_of_other(method))
        for method, fields in _OF_METHOD.items()
        for field in fields
    ),
    (
        "probe.per_class",
        "guidance.objective",
        lambda recipe, _: recipe.guidance.objective == "margin",
    ),
    (
        "projection.epochs",
        "projection.min_steps",
        lambda recipe, sizes: _steps_overrule_epochs(recipe.projection, _learnt(recipe, sizes)),
    ),
    (
        "negatives.epochs",
        "negatives.min_steps",
        lambda recipe, sizes: _steps_overrule_epochs(recipe.negatives, _redrawn(recipe, sizes)),
    ),
)


def _value_at(recipe: Recipe, key: str) -> object:
    section, _, name = key.partition(".")
    return getattr(getattr(recipe, section), name)
