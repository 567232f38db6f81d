"""A warning where new images score otherwise, and seldom where they do not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstwobign

from synood.detector.calibration import calibrate_threshold
from synood.detector.drift import FEWEST, LEVEL, compare_scores, drift_warning
from synood.errors import InputError

pytestmark = pytest.mark.numerical

SCORES = st.lists(st.integers(-9, 9).map(float), min_size=1, max_size=40)


@given(SCORES, SCORES)
def test_the_distance_is_counted_one_by_one_and_its_chance_scipys(known, new):
    found = compare_scores(known, new)
    gaps = [
        np.mean([value <= place for value in known]) - np.mean([value <= place for value in new])
        for place in [*known, *new]
    ]
    assert found.distance == pytest.approx(max(map(abs, gaps)), abs=1e-12)
    reach = math.sqrt(len(known) * len(new) / (len(known) + len(new))) * found.distance
    assert found.p_value == pytest.approx(kstwobign.sf(reach), abs=1e-9)
    assert 0 <= found.p_value <= 1


@pytest.mark.parametrize("known", [20, 100, 1000])
@pytest.mark.parametrize("new", [20, 200])
def test_false_alarms_are_no_more_than_the_level(known, new):
    """Over 3,000 pairs of one kind; three deviations of the count are allowed above 1 %."""
    rng, alarms = np.random.default_rng(known + new), 0
    for _ in range(3000):
        scores = rng.gumbel(size=known + new)
        alarms += compare_scores(scores[:known], scores[known:]).p_value < LEVEL
    assert alarms / 3000 <= LEVEL + 3 * math.sqrt(LEVEL / 3000)


@pytest.mark.parametrize(("lower_by", "least"), [(0.5, 0.5), (1.0, 0.99)])
def test_lower_images_are_noticed(lower_by, least):
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(200):
        known = calibrate_threshold(rng.normal(size=200))
        sentence = drift_warning(known, rng.normal(size=60) - lower_by, in_distribution=True)
        alarms += sentence is not None and "score lower than the 200" in sentence
    assert alarms / 200 >= least


def test_a_few_ood_images_among_many_are_no_drift():
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(200):
        known = calibrate_threshold(rng.normal(size=200))
        scores = rng.normal(size=400)
        scores[:12] -= 8
        alarms += drift_warning(known, scores) is not None
    assert alarms / 200 < 0.05


def test_the_warning_says_what_is_kept_and_what_to_do():
    known = calibrate_threshold(np.arange(200.0))
    assert drift_warning(known, np.arange(200.0)) is None
    sentence = drift_warning(known, np.arange(200.0) - 100)
    assert "these 200 images score lower than the 200 calibration images" in sentence
    assert "45.5 % of them are above the threshold for 95 %" in sentence
    assert "significant below 0.01" in sentence
    assert "If they are in-distribution, the threshold does not hold for them" in sentence
    surely = drift_warning(known, np.arange(200.0) - 100, in_distribution=True)
    assert ". They are of another kind" in surely
    higher = drift_warning(known, np.arange(200.0) + 100)
    assert "score higher" in higher
    assert "Few of them are out-of-distribution" in higher
    easier = drift_warning(known, np.arange(200.0) + 100, in_distribution=True)
    assert "the detector has learned from them" in easier
    assert "calibrate" not in easier.partition(". ")[2]
    assert "Most are out-of-distribution, or all" in drift_warning(known, np.full(200, -9.0))


@pytest.mark.parametrize("images", [100, 400])
def test_ood_images_among_others_are_told_from_images_of_another_kind(images):
    """The reason is right in nine of ten batches where there is something to tell."""
    rng, right = np.random.default_rng(images), []
    for _ in range(100):
        known = calibrate_threshold(rng.normal(size=300))
        mixed, moved = rng.normal(size=(2, images))
        mixed[: images // 3] -= 8
        told = drift_warning(known, mixed), drift_warning(known, moved - 1.0)
        right.append("many of the others are probably out-of-distribution" in (told[0] or ""))
        right.append("score lower too, so the images are of another kind" in (told[1] or ""))
    assert np.mean(right) > 0.9


def test_too_little_to_compare_is_not_warned_of():
    known = calibrate_threshold(np.arange(200.0))
    assert drift_warning(known, np.full(FEWEST - 1, -9.0)) is None
    assert drift_warning(None, np.full(100, -9.0)) is None
    assert drift_warning(calibrate_threshold(np.arange(19.0)), np.full(100, -9.0)) is None


@pytest.mark.parametrize("scores", [[], [1.0, math.nan], [[1.0]]])
def test_what_cannot_be_compared_is_refused(scores):
    with pytest.raises(InputError, match="scores: must be a line of numbers"):
        compare_scores([1.0], scores)
