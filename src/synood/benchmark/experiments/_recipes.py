"""A run's recipe with what another recipe does differently: its choices on validation stay."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from synood.pipeline.recipe import RECIPES, with_changes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from synood.settings import Recipe


def as_recipe(recipe: Recipe, name: str) -> Recipe:
    """Return `recipe` with the fields in which plus and paper differ as in the recipe `name`."""
    paper, plus, wanted = (dict(_leaves(asdict(RECIPES[n]))) for n in ("paper", "plus", name))
    differing = {field for field in paper if paper[field] != plus[field]} - {"name"}
    return with_changes(recipe, {field: wanted[field] for field in sorted(differing)}, name)


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        if isinstance(item, dict):
            yield from _leaves(item, f"{prefix}{name}.")
        else:
            yield prefix + name, item
