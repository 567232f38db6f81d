"""A stage on a small suite and a tiny bundle, for tests of experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from small_suite import tiny_bundle, write_small_suite
from synood.benchmark.experiments.setup import prepare
from synood.benchmark.protocol.controls import CONTROLS, NEG_IMAGE
from synood.benchmark.suites.suite import read_suite
from synood.models.bundles import load_bundle
from synood.pipeline.recipe import resolve_recipe

if TYPE_CHECKING:
    from pathlib import Path

SEEDS = (0, 1)


def furnished(root: Path) -> Path:
    """Write a suite and a bundle below `root`."""
    write_small_suite(root / "suite", split="hard")
    tiny_bundle(root / "bundle")
    return root


def staged(place: Path):
    """Make the run of a furnished place; everything is tuned under both seeds."""
    bundle = load_bundle(place / "bundle")
    recipe = resolve_recipe("paper", bundle.recipe_defaults)
    return prepare(place / "run", read_suite(place / "suite"), bundle, recipe, SEEDS, resamples=20)


def rows_by_method(outcome):
    found = {}
    for row in outcome.rows:
        found.setdefault(row.method, set()).add((row.seed, row.ood_set))
    return found


def find(name):
    return next(kind for kind in (*CONTROLS, NEG_IMAGE) if kind.name == name)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
