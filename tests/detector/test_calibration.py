"""The threshold keeps what it promises, exactly, and says how sure that is."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from synood.detector.calibration import ENOUGH_IMAGES, calibrate_threshold, wilson_interval
from synood.errors import InputError

pytestmark = pytest.mark.numerical

SCORES = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=60)
SHARES = st.integers(1, 100).map(lambda percent: percent / 100)


def brute_force(scores, tpr):
    """The highest of the scores at or above which a large enough share lies, counted one by one."""
    wanted = Fraction(str(tpr))
    fitting = [
        threshold
        for threshold in scores
        if Fraction(sum(score >= threshold for score in scores), len(scores)) >= wanted
    ]
    return max(fitting)


@given(SCORES, SHARES)
def test_the_threshold_is_the_highest_that_keeps_the_share(scores, tpr):
    result = calibrate_threshold(scores, tpr)
    assert result.threshold == brute_force(scores, tpr)
    assert result.tpr_reached == sum(s >= result.threshold for s in scores) / len(scores) >= tpr
    assert result.images == len(scores)


@pytest.mark.parametrize("count", [10, 20, 30, 100, 700, 1000])
@pytest.mark.parametrize("percent", [7, 29, 55, 90, 95, 99])
def test_rounding_of_the_share_never_moves_the_threshold_by_one(count, percent):
    kept = calibrate_threshold(np.arange(count), percent / 100).tpr_reached * count
    assert round(kept) == -(-count * percent // 100)


@given(SCORES, SHARES, st.randoms())
def test_order_and_strictly_rising_maps_change_nothing_but_the_threshold(scores, tpr, random):
    shuffled = list(scores)
    random.shuffle(shuffled)
    assert calibrate_threshold(shuffled, tpr) == calibrate_threshold(scores, tpr)
    moved = calibrate_threshold([2 * score + 1 for score in scores], tpr)
    assert moved.threshold == 2 * calibrate_threshold(scores, tpr).threshold + 1


def test_the_threshold_of_single_precision_scores_keeps_the_very_score_it_came_from():
    scores = np.random.default_rng(0).random(500, dtype=np.float32)
    result = calibrate_threshold(scores, 0.95)
    assert np.count_nonzero(scores >= result.threshold) == 475


@pytest.mark.parametrize(("kept", "count"), [(0, 5), (5, 5), (1, 3), (95, 100), (1900, 2000)])
def test_the_interval_equals_scipys(kept, count):
    oracle = binomtest(kept, count).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(wilson_interval(kept, count), (oracle.low, oracle.high), atol=1e-12)


def test_the_interval_holds_what_new_images_do():
    """Over many calibrations the share of the whole population kept lies inside about 95 %."""
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(300):
        result = calibrate_threshold(rng.random(250), 0.95)
        inside += result.tpr_low <= 1 - result.threshold <= result.tpr_high
    assert 0.91 <= inside / 300 <= 0.99


def test_few_images_are_warned_of():
    few = calibrate_threshold(range(ENOUGH_IMAGES - 1))
    assert "only 199 images" in few.warning
    assert f"{few.tpr_low:.0%}" in few.warning
    assert calibrate_threshold(range(ENOUGH_IMAGES)).warning is None


@pytest.mark.parametrize(
    ("scores", "tpr", "message"),
    [
        ([], 0.95, "at least one score"),
        ([0.5, float("nan")], 0.95, "no NaN"),
        ([0.5, float("inf")], 0.95, "no NaN or infinity"),
        ([0.5], 0, "above 0 and at most 1"),
        ([0.5], 95, r"\(0.95, not 95\), not 95"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(scores, tpr, message):
    with pytest.raises(InputError, match=message):
        calibrate_threshold(scores, tpr)
