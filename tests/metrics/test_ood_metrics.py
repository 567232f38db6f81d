"""The metrics equal exact fractions, scikit-learn and their own mirror images."""

from __future__ import annotations

import math
from dataclasses import astuple
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from awkward import rates, scores
from synood import metrics
from synood.errors import InputError

pytestmark = pytest.mark.numerical

# The oracle: every definition spelled out over all pairs or all thresholds, in fractions.


def exact_auroc(ids, oods):
    won = sum(Fraction(1 + (i > o) - (i < o), 2) for i in ids for o in oods)
    return won / (len(ids) * len(oods))


def exact_points(positives, negatives):
    """(recall, precision, false positive rate) at each threshold, strictest first."""
    points = []
    for threshold in sorted(set(positives) | set(negatives), reverse=True):
        tps = sum(p >= threshold for p in positives)
        fps = sum(n >= threshold for n in negatives)
        points.append(
            (
                Fraction(tps, len(positives)),
                Fraction(tps, tps + fps),
                Fraction(fps, len(negatives)),
            )
        )
    return points


def exact_average_precision(positives, negatives):
    area, seen = Fraction(0), Fraction(0)
    for recall, precision, _ in exact_points(positives, negatives):
        area, seen = area + (recall - seen) * precision, recall
    return area


def exact_trapezoid(positives, negatives):
    area, seen, before = Fraction(0), Fraction(0), Fraction(1)
    for recall, precision, _ in exact_points(positives, negatives):
        area += (recall - seen) * (precision + before) / 2
        seen, before = recall, precision
    return area


def exact_fpr(positives, negatives, tpr):
    least = Fraction(str(tpr))
    return next(fpr for recall, _, fpr in exact_points(positives, negatives) if recall >= least)


def negated(values):
    return [-value for value in values]


@given(scores, scores, rates)
def test_every_metric_equals_the_exact_fraction(ids, oods, tpr):
    found = metrics.ood_metrics(ids, oods, tpr)

    assert found.auroc == float(exact_auroc(ids, oods))
    assert found.fpr95 == float(exact_fpr(ids, oods, tpr))
    assert found.fpr95_ood_positive == float(exact_fpr(negated(oods), negated(ids), tpr))
    assert found.aupr_in == pytest.approx(float(exact_average_precision(ids, oods)), abs=1e-14)
    assert found.aupr_out == pytest.approx(
        float(exact_average_precision(negated(oods), negated(ids))), abs=1e-14
    )


@given(scores, scores, rates)
def test_the_single_functions_equal_the_exact_fraction(ids, oods, tpr):
    sides = {"id": (ids, oods), "ood": (negated(oods), negated(ids))}
    assert metrics.auroc(ids, oods) == float(exact_auroc(ids, oods))
    for side, (positives, negatives) in sides.items():
        assert metrics.fpr_at_tpr(ids, oods, tpr, side) == float(
            exact_fpr(positives, negatives, tpr)
        )
        assert metrics.aupr(ids, oods, side) == pytest.approx(
            float(exact_average_precision(positives, negatives)), abs=1e-14
        )
        assert metrics.aupr(ids, oods, side, "trapezoid") == pytest.approx(
            float(exact_trapezoid(positives, negatives)), abs=1e-14
        )


def against_scikit_learn(ids, oods):
    y = np.r_[np.ones(len(ids), int), np.zeros(len(oods), int)]
    joined = np.r_[ids, oods].astype(np.float64)
    found = metrics.ood_metrics(ids, oods)
    for positive, area, fpr95 in [
        (1, found.aupr_in, found.fpr95),
        (0, found.aupr_out, found.fpr95_ood_positive),
    ]:
        side, sign = ("id", 1) if positive else ("ood", -1)
        fpr, tpr, _ = sk.roc_curve(y, sign * joined, pos_label=positive, drop_intermediate=False)
        precision, recall, _ = sk.precision_recall_curve(y, sign * joined, pos_label=positive)
        assert fpr95 == pytest.approx(fpr[np.argmax(tpr >= 0.95)], abs=1e-12)
        assert area == pytest.approx(
            sk.average_precision_score(y == positive, sign * joined), abs=1e-12
        )
        assert metrics.aupr(ids, oods, side, "trapezoid") == pytest.approx(
            sk.auc(recall, precision), abs=1e-12
        )
    assert found.auroc == pytest.approx(sk.roc_auc_score(y, joined), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.int64])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 20.0])
def test_equals_scikit_learn_on_large_samples(seed, dtype, scale):
    rng = np.random.default_rng(seed)
    ids = (rng.normal(1.0, 1.0, 3_000) * scale).astype(dtype)
    oods = (rng.normal(0.0, 2.0, 700) * scale).astype(dtype)
    against_scikit_learn(ids, oods)


@pytest.mark.parametrize("offset", [1e-6, 1e8, -1e12])
def test_equals_scikit_learn_at_any_magnitude(offset):
    rng = np.random.default_rng(5)
    ids = offset * (1.0 + 1e-3 * rng.normal(1.0, 1.0, 2_000))
    oods = offset * (1.0 + 1e-3 * rng.normal(0.0, 1.0, 2_000))
    against_scikit_learn(ids, oods)


@pytest.mark.parametrize(
    ("ids", "oods"),
    [
        (np.array([2**53 + 1]), np.array([float(2**53)])),
        (np.array([2**63 - 1]), np.array([2**63 - 2], dtype=np.uint64)),
        (np.array([2**64 - 1], dtype=np.uint64), np.array([-1])),
        (np.array([0.1], dtype=np.float64), np.array([0.1 - 2**-50])),
        (np.array([np.float32(0.1)]), np.array([0.1])),  # 0.1 in single lies above 0.1 in double
        (np.array([True]), np.array([np.float16(0.5)])),
    ],
)
def test_values_that_a_common_dtype_would_merge_stay_apart(ids, oods):
    assert metrics.auroc(ids, oods) == 1.0
    assert metrics.auroc(oods, ids) == 0.0
    assert metrics.ood_metrics(ids, oods) == metrics.OODMetrics(1.0, 1.0, 1.0, 0.0, 0.0)


def test_counts_beyond_single_precision_are_exact():
    n = 2**24 + 1  # a float32 counter would stop here
    ids, oods = np.zeros(n, np.int8), np.array([0, 1], np.int8)
    assert metrics.auroc(ids, oods) == float(Fraction(n, 2 * 2 * n))
    assert metrics.aupr(ids, oods) == float(Fraction(n, n + 2))


@given(scores, scores, st.randoms(use_true_random=False))
def test_the_order_of_the_samples_does_not_matter(ids, oods, random):
    mixed = random.sample(ids, len(ids)), random.sample(oods, len(oods))
    assert metrics.ood_metrics(*mixed) == metrics.ood_metrics(ids, oods)
    assert metrics.bootstrap_interval(*mixed, resamples=3) == metrics.bootstrap_interval(
        ids, oods, resamples=3
    )


@given(scores, scores)
def test_a_strictly_increasing_map_changes_nothing(ids, oods):
    place = {value: rank for rank, value in enumerate(sorted({*ids, *oods}))}
    ranks = [place[value] for value in ids], [place[value] for value in oods]
    assert metrics.ood_metrics(*ranks) == metrics.ood_metrics(ids, oods)


@given(scores, scores)
def test_swapping_the_sides_mirrors_every_metric(ids, oods):
    here, there = metrics.ood_metrics(ids, oods), metrics.ood_metrics(oods, ids)
    assert here.auroc + there.auroc == pytest.approx(1.0, abs=1e-15)
    # Negated and swapped, OOD takes ID's place and nothing else changes.
    flipped = metrics.ood_metrics(negated(oods), negated(ids))
    assert astuple(flipped) == (
        here.auroc,
        here.aupr_out,
        here.aupr_in,
        here.fpr95_ood_positive,
        here.fpr95,
    )


@given(scores, scores, st.integers(2, 4))
def test_giving_every_sample_several_times_changes_nothing(ids, oods, times):
    ids, oods = ids * 4, oods * 4  # so that three quarters of each side are whole samples
    once = metrics.ood_metrics(ids, oods, tpr=0.75)
    again = metrics.ood_metrics(ids * times, oods * times, tpr=0.75)
    assert astuple(again) == pytest.approx(astuple(once), abs=1e-14)


def test_the_two_meanings_of_fpr95_are_told_apart():
    # 8 % of OOD looks like ID: few are accepted, but catching 95 % of OOD costs almost all of ID.
    ids = np.linspace(1.0, 2.0, 1_000)
    oods = np.r_[np.linspace(-2.0, -1.0, 920), np.linspace(1.98, 1.99, 80)]
    found = metrics.ood_metrics(ids, oods)
    assert found.fpr95 == 0.08
    assert found.fpr95_ood_positive > 0.98


def test_19_of_20_are_95_percent():
    ids = np.arange(20.0)
    assert metrics.fpr_at_tpr(ids, [0.5]) == 0.0  # threshold 1 keeps 19 of 20
    assert metrics.fpr_at_tpr(ids, [1.5]) == 1.0
    assert metrics.fpr_at_tpr(ids, [0.5], tpr=0.951) == 1.0


@pytest.mark.parametrize("tpr", [0.07, 0.29, 0.55, 0.9, 0.95, 0.99])
def test_the_least_number_of_true_positives_is_never_off_by_one(tpr):
    for n in range(1, 400):
        values = np.arange(n)
        needed = math.ceil(Fraction(str(tpr)) * n)  # 0.07 * 100 is 7.000000000000001 in floats
        assert metrics.fpr_at_tpr(values, values, tpr) == needed / n


def test_constant_scores_carry_no_information():
    found = metrics.ood_metrics(np.full(30, 7.0), np.full(10, 7.0))
    assert found == metrics.OODMetrics(0.5, 0.75, 0.25, 1.0, 1.0)


@pytest.mark.parametrize(
    ("ids", "oods", "words"),
    [
        ([], [1.0], "id_scores: empty"),
        ([1.0], [], "ood_scores: empty"),
        ([1.0, math.nan], [1.0], "id_scores: 1 of 2 scores are NaN"),
        ([1.0], [[1.0]], r"ood_scores: shape \(1, 1\) is not \(N,\)"),
        ([1j], [1.0], "id_scores: dtype complex128 is not real"),
        (["high"], [1.0], "id_scores: dtype"),
        ([[1.0], [1.0, 2.0]], [1.0], "id_scores: not an array"),
        ([2**70], [1.0], "id_scores: dtype object is not real"),
    ],
)
def test_unusable_scores_are_refused_in_a_sentence(ids, oods, words):
    for call in (metrics.ood_metrics, metrics.auroc, metrics.aupr, metrics.bootstrap_interval):
        with pytest.raises(InputError, match=words):
            call(ids, oods)


def test_unusable_settings_are_refused_in_a_sentence():
    good = ([1.0, 2.0], [0.0, 1.0])
    for tpr in (0.0, 1.1, math.nan, None, "0.95"):
        with pytest.raises(InputError, match="tpr: "):
            metrics.ood_metrics(*good, tpr=tpr)
    with pytest.raises(InputError, match="positive: 'in' is not"):
        metrics.fpr_at_tpr(*good, positive="in")
    with pytest.raises(InputError, match="method: 'lower' is not"):
        metrics.aupr(*good, method="lower")
    with pytest.raises(InputError, match="resamples: 0"):
        metrics.bootstrap_interval(*good, resamples=0)
    with pytest.raises(InputError, match="level: 1"):
        metrics.delong_interval(*good, level=1.0)
    with pytest.raises(InputError, match="at least two"):
        metrics.delong_interval([1.0], [0.0, 1.0])
