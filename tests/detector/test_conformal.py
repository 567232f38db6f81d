"""Ranks, p-values and discoveries are exact, and keep their word on exchangeable scores."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from crepes.base import p_values_batch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, betabinom, false_discovery_control

from synood.detector.conformal import (
    benjamini_hochberg,
    chance_of_keeping,
    check_enough,
    conformal_rank,
    images_needed,
    kept_interval,
    p_values,
)
from synood.detector.discoveries import images_to_find
from synood.errors import InputError

pytestmark = pytest.mark.numerical

NONCONFORM = Path(__file__).parents[1] / "data" / "nonconform.json"
SCORES = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=40)
PERCENT = st.integers(1, 99)


@given(st.integers(0, 5000), PERCENT)
def test_the_rank_is_exact_in_whole_numbers(count, percent):
    assert conformal_rank(count, percent / 100) == (count + 1) * (100 - percent) // 100


@given(PERCENT)
def test_images_needed_are_the_fewest_with_a_rank(percent):
    needed = images_needed(percent / 100)
    assert conformal_rank(needed, percent / 100) == 1 or percent == 1
    assert conformal_rank(needed - 1, percent / 100) == 0
    check_enough(needed, percent / 100)
    with pytest.raises(InputError, match=f"at least {needed:,} are needed"):
        check_enough(needed - 1, percent / 100)


def test_no_number_of_images_keeps_every_new_one():
    assert images_needed(0.999) == 999
    with pytest.raises(InputError, match="no threshold keeps every new image"):
        images_needed(1.0)
    with pytest.raises(InputError, match=r"0\.95, not 95"):
        images_needed(95)


@given(SCORES, SCORES)
def test_p_values_are_those_of_crepes(calibration, scores):
    found = p_values(sorted(calibration), scores)
    oracle = p_values_batch(-np.array(calibration), -np.array(scores), smoothing=False)
    np.testing.assert_array_equal(found, oracle)


def test_p_values_and_selections_are_those_of_nonconform():
    for case in json.loads(NONCONFORM.read_text())["cases"]:
        found = p_values(np.sort(np.float32(case["calibration"])), np.float32(case["scores"]))
        np.testing.assert_allclose(found, case["p_values"], rtol=1e-12)
        for rate, selected in case["selected"].items():
            np.testing.assert_array_equal(benjamini_hochberg(found, float(rate)), selected)


@given(SCORES, PERCENT)
def test_a_score_is_below_the_threshold_where_its_p_value_is_small(calibration, percent):
    tpr = percent / 100
    known = np.sort(np.float32(calibration))
    rank = conformal_rank(len(known), tpr)
    scores = np.arange(-21, 22, 0.5, dtype=np.float32)
    small = [Fraction(p).limit_denominator(10**6) <= 1 - Fraction(percent, 100)
             for p in p_values(known, scores)]  # fmt: skip
    below = scores < known[rank - 1] if rank else np.zeros(len(scores), bool)
    np.testing.assert_array_equal(below, small)


@given(st.lists(st.integers(1, 1000).map(lambda n: n / 1000), max_size=60), PERCENT)
def test_discoveries_are_those_of_scipy(values, percent):
    rate = percent / 100
    found = benjamini_hochberg(values, rate)
    exact = sorted(Fraction(round(1000 * value), 1000) for value in values)
    count = sum(p <= max([0, *(q for i, q in enumerate(exact, 1)
                 if q <= Fraction(percent, 100) * i / len(exact))]) for p in exact)  # fmt: skip
    assert found.sum() == count
    if values:
        adjusted = false_discovery_control(values)
        clear = np.abs(adjusted - rate) > 1e-9
        np.testing.assert_array_equal(found[clear], (adjusted <= rate)[clear])


@pytest.mark.parametrize("values", [[0.5, math.nan], [[0.5]], [1.5], [-0.1]])
def test_what_are_no_p_values_is_refused(values):
    with pytest.raises(InputError, match="p-values: must be"):
        benjamini_hochberg(values, 0.05)


@pytest.mark.parametrize("rate", [0, 1, 5, -0.1, math.nan, "0.05"])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(InputError, match=r"0\.05, not 5"):
        benjamini_hochberg([0.5], rate)


def test_p_values_of_nan_are_refused():
    with pytest.raises(InputError, match="NaN"):
        p_values([1.0], [math.nan])


@pytest.mark.parametrize(("count", "rank"), [(1, 1), (19, 1), (100, 5), (5000, 250), (7, 7)])
@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_interval_of_what_is_kept_is_that_of_the_beta_distribution(count, rank, level):
    tails = [(1 - level) / 2, (1 + level) / 2]
    expected = beta.ppf(tails, count + 1 - rank, rank)
    np.testing.assert_allclose(kept_interval(count, rank, level), expected, atol=1e-9)


@pytest.mark.parametrize(("count", "rank"), [(19, 1), (200, 10), (7, 7)])
@pytest.mark.parametrize(("kept", "images"), [(0, 1), (30, 40), (180, 200), (200, 200)])
def test_the_chance_of_keeping_so_few_is_the_beta_binomial_one(count, rank, kept, images):
    expected = betabinom.cdf(kept, images, count + 1 - rank, rank)
    assert chance_of_keeping(count, rank, kept, images) == pytest.approx(expected, abs=1e-9)


@given(st.integers(1, 50), st.integers(1, 400), PERCENT)
def test_so_many_images_can_find_so_many_and_one_fewer_cannot(discoveries, count, percent):
    discoveries, rate = min(discoveries, count), percent / 100
    needed = images_to_find(discoveries, count, rate)
    for images, expected in ((needed, True), (needed - 1, False)):
        least = np.float32(np.arange(images))
        values = np.full(count, 1.0)
        values[:discoveries] = p_values(least, np.float32([-1.0]))[0]
        if images and (expected or needed > 1):
            assert benjamini_hochberg(values, rate).any() == expected


@pytest.mark.parametrize("images", [19, 20, 40, 55, 100, 333])
@pytest.mark.parametrize("tpr", [0.9, 0.95])
def test_new_images_are_kept_as_often_as_promised_for_every_number(images, tpr):
    """Over 40,000 calibrations; the deviation of their mean is below 0.0004."""
    rng = np.random.default_rng(images)
    rank = conformal_rank(images, tpr)
    kept = [
        1 - np.partition(rng.random((4000, images)), rank - 1, axis=1)[:, rank - 1].mean()
        for _ in range(10)
    ]
    assert np.mean(kept) == pytest.approx(1 - rank / (images + 1), abs=0.0015)
    assert 1 - rank / (images + 1) >= tpr


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_false_discoveries_are_no_more_than_asked_for(share):
    """1,000 batches of 100 images, a share of them OOD; the calibration set is drawn anew."""
    rng = np.random.default_rng(int(10 * share))
    outside, wrong, caught = int(100 * share), [], []
    for _ in range(1000):
        known = np.sort(rng.normal(size=999).astype(np.float32))
        scores = rng.normal(size=100).astype(np.float32)
        scores[:outside] -= 4
        found = benjamini_hochberg(p_values(known, scores), 0.1)
        wrong.append(found[outside:].sum() / max(1, found.sum()))
        caught.append(found[:outside].mean() if outside else 0.0)
    # exact: rate times the share of in-distribution images, plus three deviations of the mean
    assert np.mean(wrong) <= 0.1 * (1 - share) + 3 * np.std(wrong) / math.sqrt(1000)
    if share == 0.5:
        assert np.mean(caught) > 0.9
