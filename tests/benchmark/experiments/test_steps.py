"""The experiment on guided steps: chosen on validation images, made anew under every seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from staging import SEEDS, furnished, rows_by_method, staged
from synood.benchmark.experiments import find_experiment, steps
from synood.metrics import fpr_at_tpr
from synood.pipeline.rundir.shards import read_synthetic

KINDS = {"rounds", "unguided", "step"}


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    return staged(furnished(tmp_path_factory.mktemp("steps")))


@pytest.fixture(scope="module")
def outcome(setup):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "MUS", (1.0,))
        patch.setattr(steps, "GUIDED_STEPS", (None, 1))
        return find_experiment("steps").run(setup)


def pixels(directory):
    found = read_synthetic(directory)
    return {one.id: np.asarray(Image.open(one.path), int) for one in found.values()}


def test_each_kind_is_tuned_and_scored_under_each_seed(outcome):
    found = rows_by_method(outcome)
    assert set(found) == {"neglabel", *KINDS}
    assert all(len(found[name]) == len(SEEDS) * 3 for name in KINDS)
    assert {(item.method, item.other) for item in outcome.comparisons} == set(steps.PAIRS)
    assert len(outcome.extra_tables[1].lines) == len(steps.PAIRS)


def test_the_best_on_validation_images_is_chosen(outcome):
    lines = outcome.extra_tables[0].lines
    assert [line[0].removesuffix(" (chosen)") for line in lines] == [
        "guided in rounds", "unguided", "every step, mu 1", "last 1 steps, mu 1",
    ]  # fmt: skip
    tried = [line for line in lines if "mu" in line[0]]
    (chosen,) = (line for line in tried if "(chosen)" in line[0])
    key = [(float(line[1]), -float(line[2])) for line in tried]
    assert (float(chosen[1]), -float(chosen[2])) == min(key)
    choice = outcome.details["chosen"]
    assert f"mu {choice['mu']:g}" in chosen[0]
    assert ("every" in chosen[0]) == (choice["guided_steps"] is None)


def test_validation_figures_are_those_of_a_detector_tuned_on_the_images(setup, outcome):
    unguided = replace(setup.recipe.guidance, stop_at_target=True).unguided()
    images = setup.repaint("unguided", unguided, SEEDS[0])
    detector = setup.retuner.detector(images, SEEDS[0])
    own = detector.score_features(setup.encoded.validation.features)
    found = [
        fpr_at_tpr(own, detector.score_features(item.features))
        for item in setup.encoded.validation_ood
    ]
    assert float(outcome.extra_tables[0].lines[1][1]) == pytest.approx(
        100 * np.mean(found), abs=0.06
    )


def test_images_differ_by_kind_and_by_seed(setup, outcome):
    folder = setup.workspace.root / "controls"
    choice = outcome.details["chosen"]
    name = f"step-{choice['mu']:g}-{choice['guided_steps'] or 'all'}"
    plain, step = (pixels(folder / f"{kind}-seed-{SEEDS[0]}") for kind in ("unguided", name))
    assert plain.keys() == step.keys()
    assert len(plain) == len(setup.pairs)
    other = pixels(folder / f"{name}-seed-{SEEDS[1]}")
    assert any((step[key] != other[key]).any() for key in step)


def with_guidance(setup, **changes):
    """The same run, as if its own images had been guided otherwise."""
    recipe = replace(setup.recipe, guidance=replace(setup.recipe.guidance, **changes))
    return replace(setup, inputs=replace(setup.inputs, recipe=recipe))


def test_a_recipe_that_guides_steps_is_taken_as_it_is(setup):
    (way,) = steps._ways(with_guidance(setup, method="step", mu=0.2).recipe.guidance)
    assert (way.method, way.mu, way.guided_steps) == ("step", 0.2, None)
    ways = steps._ways(setup.recipe.guidance)
    assert len(ways) == len({(way.mu, way.guided_steps) for way in ways})
    assert len(ways) == len(steps.MUS) * len(steps.GUIDED_STEPS)


def test_what_stops_at_the_target_is_another_image_only_where_steps_are_guided(setup):
    rounds = replace(setup.recipe.guidance, stop_at_target=True)
    assert setup.repaint("stopping", rounds) == setup.synthetic()
    step = with_guidance(setup, method="step")
    found = step.repaint("stopping", replace(step.recipe.guidance, stop_at_target=True))
    assert not {one.path for one in found} & {one.path for one in setup.synthetic()}
