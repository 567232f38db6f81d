"""A run's recipe becomes plus or paper without losing what was chosen for the run."""

from __future__ import annotations

from dataclasses import replace

from synood.benchmark.experiments._recipes import as_recipe
from synood.pipeline.recipe import RECIPES, with_changes


def test_the_named_recipe_follows_from_the_other_one():
    paper, plus = RECIPES["paper"], RECIPES["plus"]
    assert replace(as_recipe(paper, "plus"), name="plus") == plus
    assert replace(as_recipe(plus, "paper"), name="paper") == paper
    assert as_recipe(paper, "paper") == paper


def test_what_neither_recipe_sets_is_kept():
    chosen = {"mining.share": 0.3, "score.temperature": 0.05, "select.per_class": 4}
    recipe = with_changes(RECIPES["paper"], chosen, "the choice on validation images")
    made = as_recipe(recipe, "plus")
    assert made != recipe
    assert (made.mining, made.score, made.select) == (recipe.mining, recipe.score, recipe.select)
    assert as_recipe(made, "paper") == recipe
