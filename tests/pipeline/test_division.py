"""Images that set the threshold are learned from by nothing, and are as many as there can be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from small_run import make_pictures, run
from synood import OODDetector
from synood.files import read_jsonl
from synood.images.sources import ImageIndex, ImageRecord
from synood.pipeline.recipe import RECIPES
from synood.pipeline.stages import division
from synood.pipeline.stages.division import divide, evenly, held_out

SIZES = st.lists(st.integers(1, 80), min_size=1, max_size=6)
NEEDED = 19  # for the threshold that keeps 95 %


def divided(sizes, recipe, with_probe, unreadable=()):
    """Divide a folder of classes of these sizes, the ratios of whose images are a shuffle."""
    records = [
        ImageRecord(f"{place}/{number:03}", Path("x"), f"class {place}")
        for place, size in enumerate(sizes)
        for number in range(size)
    ]
    names = tuple(f"class {place}" for place in range(len(sizes)))
    index = ImageIndex(root=Path("x"), records=tuple(records), class_names=names)
    values = np.random.default_rng(0).permutation(len(records)).astype(float)
    values[[*unreadable]] = np.nan
    redrawn, uses = divide(index, recipe, with_probe, values)
    assert set(redrawn) == uses["tune"]
    return index, uses


@given(SIZES, st.sampled_from(["paper", "plus"]), st.booleans(), st.integers(1, 60))
def test_no_image_that_sets_the_threshold_is_learned_from(sizes, name, with_probe, redrawn):
    recipe = RECIPES[name]
    recipe = replace(recipe, select=replace(recipe.select, per_class=redrawn))
    _, uses = divided(sizes, recipe, with_probe)
    learned = uses["tune"] | uses["learn"] | uses["probe"]
    assert not learned & uses["calibrate"]
    assert len(learned | uses["calibrate"]) == sum(sizes)  # and none lies idle
    counts = np.bincount(
        [int(place) for place, size in enumerate(sizes) for _ in range(size)],
        [row in uses["tune"] for row in range(sum(sizes))],
        len(sizes),
    )
    assert (counts >= 1).all()  # every class is learned
    if recipe.evidence.from_images:  # cross-fitted: all images set the threshold if few are left
        np.testing.assert_array_equal(counts, np.minimum(sizes, redrawn))
        return
    enough_without = sum(max(0, n - max(redrawn, recipe.projection.images_per_class or 0))
                         for n in sizes) >= NEEDED  # fmt: skip
    if enough_without:
        np.testing.assert_array_equal(counts, np.minimum(sizes, redrawn))
    if sum(n // 2 for n in sizes) >= 2 * NEEDED + len(sizes):
        assert len(uses["calibrate"]) >= NEEDED


@given(SIZES)
def test_images_are_kept_out_of_learning_only_where_that_makes_a_threshold_possible(sizes):
    held = held_out(sizes, RECIPES["paper"])
    assert sum(held) == 0 or sum(held) >= NEEDED
    assert all(count <= size // 2 for count, size in zip(held, sizes, strict=True))
    left = sum(max(0, size - 50) for size in sizes)
    assert not any(held) or left < NEEDED


def test_few_images_are_shared_between_learning_and_the_threshold():
    _, uses = divided([20, 40], RECIPES["paper"], with_probe=False)
    assert len(uses["calibrate"]) == 20
    assert len(uses["tune"]) == 40
    _, uses = divided([10, 10], RECIPES["paper"], with_probe=False)
    assert not uses["calibrate"]
    assert len(uses["tune"]) == 20


def test_the_probe_has_up_to_half_of_what_is_left_over():
    recipe = replace(RECIPES["paper"], select=replace(RECIPES["paper"].select, per_class=4))
    _, uses = divided([100, 100], recipe, with_probe=True)
    assert len(uses["probe"]) == 2 * (4 + 48)
    assert len(uses["calibrate"]) == 2 * 48
    _, uses = divided([16, 16], recipe, with_probe=True)  # half of 24 would be too few
    assert len(uses["probe"]) == 8
    assert len(uses["calibrate"]) == 24


def test_a_number_of_calibration_images_is_taken_evenly_as_before():
    recipe = RECIPES["plus"]
    recipe = replace(
        recipe,
        select=replace(recipe.select, per_class=4),
        calibration=replace(recipe.calibration, per_class=20),
    )
    _, uses = divided([100, 30], recipe, with_probe=True)
    left = [row for row in range(100) if row not in uses["tune"] | uses["learn"]]
    assert sorted(row for row in uses["calibrate"] if row < 100) == evenly(left, 20)
    assert len(uses["calibrate"]) == 20 + 14
    assert len(uses["probe"]) == 130


def test_of_very_many_images_enough_set_the_threshold(monkeypatch):
    monkeypatch.setattr(division, "ENOUGH", 60)
    _, uses = divided([90, 90, 20], RECIPES["paper"], with_probe=False)
    assert len(uses["calibrate"]) == 2 * 20


def test_unreadable_images_are_used_for_nothing():
    _, uses = divided([40, 40], RECIPES["plus"], True, unreadable=range(0, 80, 3))
    assert all(row % 3 for rows in uses.values() for row in rows)


def test_a_run_sets_its_threshold_on_all_images_left_over(bundle, tmp_path):
    images = make_pictures(tmp_path / "images", count=12)
    run(images, bundle, tmp_path / "out")
    uses = [tuple(row["uses"]) for row in read_jsonl(tmp_path / "out" / "select.jsonl")]
    assert uses.count(("tune",)) == 6
    assert uses.count(("calibrate",)) == 30
    detector = OODDetector.from_pretrained(tmp_path / "out" / "detector")
    assert detector.calibration.images == 30
    assert detector.threshold == detector.calibration.threshold


def test_a_run_with_too_few_images_has_no_threshold_and_says_how_many_it_takes(bundle, tmp_path):
    told = []
    run(
        make_pictures(tmp_path / "images"), bundle, tmp_path / "out",
        progress=lambda stage, done, total, message: told.append((stage, message)),
    )  # fmt: skip
    (message,) = [message for stage, message in told if stage == "calibrate"]
    assert "9 images are too few" in message
    assert "at least 19 are needed" in message
    assert "`synood calibrate`" in message
    detector = OODDetector.from_pretrained(tmp_path / "out" / "detector")
    assert detector.threshold is None
    assert detector.calibration is None


@pytest.mark.parametrize("count", [12, 1])
def test_the_cost_of_many_images_is_said_in_one_line(bundle, tmp_path, monkeypatch, count):
    monkeypatch.setattr("synood.pipeline.stages.select.MANY", 20)
    told = []
    run(
        make_pictures(tmp_path / "images", count=count), bundle, tmp_path / "out",
        progress=lambda stage, done, total, message: told.append((stage, message)),
    )  # fmt: skip
    lines = [message for stage, message in told if stage == "select" and "encoded" in message]
    assert len(lines) == (count == 12)
    assert not lines or lines[0].startswith("30 images that nothing is learned from")
