"""The threshold keeps what it promises, exactly, and says how sure that is."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from crepes.base import p_values_batch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from synood.detector.calibration import ENOUGH_IMAGES, calibrate_threshold, wilson_interval
from synood.errors import InputError

pytestmark = pytest.mark.numerical

SCORES = st.lists(st.integers(-9, 9).map(float), min_size=1, max_size=60)
PERCENT = st.integers(1, 99)


def calibrated(scores, percent):
    """Calibrate, or say why that is refused: too few scores, or too many equal ones."""
    try:
        return calibrate_threshold(scores, percent / 100)
    except InputError as error:
        return str(error)


def brute_force(scores, percent):
    """The highest of the scores at which few enough ranks are below, a new image's included."""
    allowed = Fraction(100 - percent, 100) * (len(scores) + 1)
    fitting = [
        threshold
        for threshold in scores
        if sum(score < threshold for score in scores) + 1 <= allowed
    ]
    return max(fitting, default=None)


@given(SCORES, PERCENT)
def test_the_threshold_is_the_highest_that_rejects_no_more_than_allowed(scores, percent):
    result, expected = calibrated(scores, percent), brute_force(scores, percent)
    if expected is None:
        assert f"{len(scores)} images are too few" in result
    elif isinstance(result, str):
        assert 2 * scores.count(expected) > len(scores) > 1
        assert "are equal to the threshold" in result
    else:
        assert result.threshold == expected
        assert result.tpr_reached == sum(s >= expected for s in scores) / len(scores)
        assert result.images == len(scores)
        assert result.scores.tolist() == sorted(scores)


@given(SCORES, PERCENT, st.randoms())
def test_order_and_strictly_rising_maps_change_nothing_but_the_threshold(scores, percent, random):
    shuffled = list(scores)
    random.shuffle(shuffled)
    plain = calibrated(scores, percent)
    assert calibrated(shuffled, percent) == plain
    moved = calibrated([2 * score + 1 for score in scores], percent)
    if isinstance(plain, str):
        assert moved == plain
    else:
        assert moved.threshold == 2 * plain.threshold + 1


def test_the_threshold_of_single_precision_scores_keeps_the_very_score_it_came_from():
    scores = np.random.default_rng(0).random(500, dtype=np.float32)
    result = calibrate_threshold(scores, 0.95)
    assert np.count_nonzero(scores >= result.threshold) == 500 - 25 + 1


@pytest.mark.parametrize(("kept", "count"), [(0, 5), (5, 5), (1, 3), (95, 100), (1900, 2000)])
def test_the_interval_equals_scipys(kept, count):
    oracle = binomtest(kept, count).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(wilson_interval(kept, count), (oracle.low, oracle.high), atol=1e-12)


def test_the_interval_holds_what_new_images_do():
    """Over many calibrations the share of the whole population kept lies inside about 95 %."""
    rng, inside = np.random.default_rng(0), 0
    for _ in range(400):
        result = calibrate_threshold(rng.random(250), 0.95)
        inside += result.tpr_low <= 1 - result.threshold <= result.tpr_high
    assert 0.92 <= inside / 400 <= 0.98


def test_few_images_are_warned_of():
    few = calibrate_threshold(range(ENOUGH_IMAGES - 1))
    assert "only 199 images" in few.warning
    assert f"{100 * few.tpr_low:.0f} %" in few.warning
    assert calibrate_threshold(range(ENOUGH_IMAGES)).warning is None


def test_scores_that_tie_at_the_threshold_are_counted_and_most_of_them_refused():
    """Images of one class, of which shares in [0, 1] were all exactly 1, must not pass silently."""
    scores = np.arange(300.0)
    scores[:40] = 0.0
    assert "40 of 300 calibration scores are equal" in calibrate_threshold(scores).warning
    with pytest.raises(InputError, match="300 of 300 scores are equal to the threshold"):
        calibrate_threshold(np.ones(300))


# Thresholds by class.

LABELS = st.lists(st.tuples(st.integers(0, 3), st.integers(-20, 20)), min_size=20, max_size=120)


@given(LABELS, st.lists(st.tuples(st.integers(0, 4), st.integers(-21, 21)), max_size=20))
def test_p_values_by_class_are_those_of_crepes_on_the_same_groups(known, new):
    labels, scores = map(np.array, zip(*known, strict=True))
    try:
        result = calibrate_threshold(scores, 0.9, labels)
    except InputError:  # of too many equal ones
        return
    enough = {label for label in range(5) if (labels == label).sum() >= 9}
    others = ~np.isin(labels, [*enough])
    bins, rest = np.where(others, -1, labels), np.flatnonzero(others)
    if len(rest) < 9:  # too few together as well: these are held against all images
        bins = np.where(others, -2, labels)
    for label, score in new:
        known_bins, known_scores, own = bins, scores, label if label in enough else -1
        if own == -1 and len(rest) < 9:
            known_bins = np.full(len(bins), -1)
        oracle = p_values_batch(
            -known_scores.astype(float), -np.array([float(score)]), known_bins, np.array([own]),
            smoothing=False,
        )  # fmt: skip
        assert result.p_value(score, label) == pytest.approx(oracle[0], abs=1e-12)
        assert result.p_values([score], [label])[0] == result.p_value(score, label)
        small = Fraction(oracle[0]).limit_denominator(1000) <= Fraction(1, 10)
        assert (score < result.threshold_of(label)) == small


def test_every_class_is_kept_as_often_as_promised_and_not_only_all_of_them_together():
    """One class scores 3 lower: its own threshold keeps 90 % of it, a common one does not."""
    rng, kept, common = np.random.default_rng(0), [], []
    for _ in range(300):
        labels = rng.choice(3, 300, p=[0.6, 0.3, 0.1])
        scores = rng.normal(size=300) - 3 * (labels == 2)
        new = rng.normal(size=(3, 200)) - 3 * (np.arange(3) == 2)[:, None]
        own, one = (calibrate_threshold(scores, 0.9, rows) for rows in (labels, None))
        kept.append([np.mean(new[row] >= own.threshold_of(row)) for row in range(3)])
        common.append([np.mean(new[row] >= one.threshold_of(row)) for row in range(3)])
    assert (np.mean(kept, axis=0) > 0.895).all()
    assert np.mean(common, axis=0)[2] < 0.6


def test_classes_with_too_few_images_share_a_threshold():
    labels = [0] * 60 + [1] * 10 + [2] * 12
    scores = [*range(100, 160), *range(10), *range(20, 32)]
    result = calibrate_threshold(scores, 0.95, labels)
    assert result.threshold_of(0) == 102  # the third smallest of 60
    assert result.threshold_of(1) == result.threshold_of(2) == result.threshold_of(7) == 0
    alone = calibrate_threshold(scores[:70], 0.95, labels[:70])
    assert alone.threshold_of(1) == alone.threshold == 2  # of all 70 images


@pytest.mark.parametrize("labels", [[0] * 19, [0.0] * 20, [[0] * 20], [-1] * 20])
def test_labels_that_do_not_fit_the_scores_are_refused(labels):
    with pytest.raises(InputError, match="labels"):
        calibrate_threshold(range(20), 0.9, labels)


@pytest.mark.parametrize(
    ("scores", "tpr", "message"),
    [
        ([], 0.95, "at least one score"),
        ([0.5, float("nan")], 0.95, "no NaN"),
        ([0.5, float("inf")], 0.95, "no NaN or infinity"),
        ([0.5], 0, "above 0 and at most 1"),
        ([0.5], 95, r"\(0.95, not 95\), not 95"),
        (range(18), 0.95, "18 images are too few .* 95 % of new ones; at least 19 are needed"),
        (range(500), 1, "no threshold keeps every new image"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(scores, tpr, message):
    with pytest.raises(InputError, match=message):
        calibrate_threshold(scores, tpr)
