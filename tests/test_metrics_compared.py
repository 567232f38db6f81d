"""Figures beyond one method and one set: AURC, paired tests, many OOD sets at once."""

from __future__ import annotations

import math
from dataclasses import astuple
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from awkward import AWKWARD, scores
from synood import metrics
from synood.errors import InputError

pytestmark = pytest.mark.numerical

# AURC: the definition over every order of the ties, in fractions.


def exact_aurc(values, correct):
    """Mean over the orders of tied images of the mean over k of the share of wrong ones."""
    total, n = Fraction(0), len(values)
    for k in range(1, n + 1):
        cut = sorted(values, reverse=True)[k - 1]
        above = [right for value, right in zip(values, correct, strict=True) if value > cut]
        level = [right for value, right in zip(values, correct, strict=True) if value == cut]
        wrong = Fraction(above.count(False))
        wrong += Fraction(k - len(above), len(level)) * level.count(False)
        total += wrong / k
    return total / n


judged = st.lists(
    st.tuples(st.sampled_from(AWKWARD) | st.integers(-3, 3).map(float), st.booleans()),
    min_size=1,
    max_size=25,
)


@given(judged)
def test_aurc_equals_the_exact_fraction(pairs):
    values, correct = (list(column) for column in zip(*pairs, strict=True))
    assert metrics.aurc(values, correct) == pytest.approx(float(exact_aurc(values, correct)))


def test_aurc_is_the_mean_over_all_orders_of_the_ties():
    correct = [True, False, False, True]
    orders = []
    for order in permutations(correct):
        wrong = np.cumsum([not right for right in order])
        orders.append(np.mean(wrong / np.arange(1, 5)))
    assert metrics.aurc([1.0] * 4, correct) == pytest.approx(np.mean(orders))


@given(judged, judged)
def test_aurc_with_ood_counts_every_accepted_ood_image_as_an_error(ids, oods):
    id_values, correct = (list(column) for column in zip(*ids, strict=True))
    ood_values = [value for value, _ in oods]
    together = exact_aurc(id_values + ood_values, correct + [False] * len(ood_values))
    found = metrics.aurc_with_ood(id_values, correct, ood_values)
    assert found == pytest.approx(float(together))


def test_aurc_of_a_perfect_confidence_is_what_the_errors_alone_cost():
    assert metrics.aurc([3, 2, 1], [True, True, True]) == 0.0
    assert metrics.aurc([3, 2, 1], [1, 1, 0]) == pytest.approx(1 / 9)
    assert metrics.aurc([3, 2, 1], [0, 0, 0]) == 1.0
    with pytest.raises(InputError, match="correct: 2 values for 3 scores"):
        metrics.aurc([1, 2, 3], [0, 1])
    with pytest.raises(InputError, match="correct: holds values other than 0 and 1"):
        metrics.aurc([1, 2], [0, 2])
    with pytest.raises(InputError, match="id_correct: 1 values for 2 id_scores"):
        metrics.aurc_with_ood([1, 2], [1], [0])
    with pytest.raises(InputError, match="scores: empty"):
        metrics.aurc([], [])


# Two methods on the same images.


def two_methods(seed, n=40, m=30, gap=0.5, digits=1):
    """Scores of two methods that share much of their noise; the first is better by `gap`."""
    rng = np.random.default_rng(seed)
    shared_id, shared_ood = rng.normal(size=n), rng.normal(size=m)

    def method(shift):
        own = rng.normal(size=n + m) * 0.5
        return (shared_id + own[:n] + shift).round(digits), (shared_ood + own[n:]).round(digits)

    return method(1.0 + gap), method(1.0)


def test_delong_test_equals_the_covariance_of_the_placements():
    first, second = two_methods(0)
    wins = [(ids[:, None] > oods) + 0.5 * (ids[:, None] == oods) for ids, oods in (first, second)]
    of_ids = np.cov([w.mean(axis=1) for w in wins])
    of_oods = np.cov([w.mean(axis=0) for w in wins])
    covariance = of_ids / 40 + of_oods / 30
    deviation = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    difference = wins[0].mean() - wins[1].mean()

    found = metrics.delong_test(first, second)
    assert found.difference == pytest.approx(difference, abs=1e-12)
    assert found.low == pytest.approx(difference - 1.959963984540054 * deviation, abs=1e-12)
    assert found.high == pytest.approx(difference + 1.959963984540054 * deviation, abs=1e-12)
    assert found.p_value == pytest.approx(2 * norm.sf(difference / deviation), rel=1e-9)


def test_bootstrap_test_equals_a_loop_over_the_same_draws():
    first, second = two_methods(1)
    found = metrics.bootstrap_test(first, second, "fpr95", resamples=40, seed=5, tpr=0.9)
    rng, drawn = np.random.default_rng(5), []
    for _ in range(40):
        i, j = rng.integers(0, 40, 40), rng.integers(0, 30, 30)
        a, b = (metrics.fpr_at_tpr(ids[i], oods[j], 0.9) for ids, oods in (first, second))
        drawn.append(a - b)
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]))
    assert found.difference == pytest.approx(
        metrics.fpr_at_tpr(*first, 0.9) - metrics.fpr_at_tpr(*second, 0.9)
    )
    tail = min(sum(d <= 0 for d in drawn), sum(d >= 0 for d in drawn))
    assert found.p_value == pytest.approx(min(1, 2 * (tail + 1) / 41))


@pytest.mark.parametrize("test", [metrics.delong_test, metrics.bootstrap_test])
def test_swapping_the_methods_mirrors_a_test(test):
    first, second = two_methods(2)
    there, back = test(first, second), test(second, first)
    assert (back.difference, back.low, back.high, back.p_value) == pytest.approx(
        (-there.difference, -there.high, -there.low, there.p_value)
    )


@pytest.mark.parametrize("test", [metrics.delong_test, metrics.bootstrap_test])
def test_equal_methods_are_not_told_apart(test):
    first, _ = two_methods(3)
    found = test(first, tuple(np.exp(side) for side in first))  # the same ranking
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_both_tests_reject_equal_methods_about_as_often_as_they_say():
    rejected = np.zeros(2)
    for seed in range(200):
        first, second = two_methods(seed, gap=0.0, digits=6)
        rejected += [
            metrics.delong_test(first, second).p_value < 0.1,
            metrics.bootstrap_test(first, second, "auroc", resamples=99).p_value < 0.1,
        ]
    assert 8 <= rejected[0] <= 34  # 20 +- 3.3 standard deviations
    assert 8 <= rejected[1] <= 34


def test_both_tests_see_what_an_unpaired_look_misses():
    first, second = two_methods(7, n=60, m=60, gap=0.5, digits=6)
    a, b = (metrics.delong_interval(*sides) for sides in (first, second))
    assert b[1] > a[0]  # the two intervals overlap
    assert metrics.delong_test(first, second).p_value < 0.01
    assert metrics.bootstrap_test(first, second, "auroc").p_value < 0.01


def test_methods_with_other_images_are_refused():
    for test in (metrics.delong_test, metrics.bootstrap_test):
        with pytest.raises(InputError, match="ood_scores: 2 by the first method, 1 by the second"):
            test(([1, 2], [0, 1]), ([1, 2], [0]))
    with pytest.raises(InputError, match="figure: 'fpr' is not one of auroc"):
        metrics.bootstrap_test(([1, 2], [0, 1]), ([1, 2], [0, 1]), "fpr")
    with pytest.raises(InputError, match="at least two"):
        metrics.delong_test(([1], [0, 1]), ([1], [0, 1]))


# Many sets at once.


@settings(max_examples=40)
@given(scores, st.lists(scores, min_size=1, max_size=4))
def test_many_sets_at_once_are_the_sets_one_by_one(ids, many):
    sets = {f"set {number}": values for number, values in enumerate(many)}
    found = metrics.ood_metrics_by_set(ids, sets, {"set 0": "near"})
    assert list(found.sets) == list(sets)
    assert found.sets == {name: metrics.ood_metrics(ids, values) for name, values in sets.items()}
    assert found.averages["near"] == found.sets["set 0"]
    rows = [astuple(one) for one in found.sets.values()]
    assert astuple(found.averages["all"]) == pytest.approx(np.mean(rows, axis=0))


def test_an_integer_side_meets_sets_of_any_type():
    ids = np.array([2**53 + 1, 2**53 + 3])
    found = metrics.ood_metrics_by_set(ids, {"f": [float(2**53)], "i": [2**53 + 2]})
    assert (found.sets["f"].auroc, found.sets["i"].auroc) == (1.0, 0.5)


def test_unusable_sets_are_named():
    with pytest.raises(InputError, match=r"ood_sets\['b'\]: 1 of 1 scores are NaN"):
        metrics.ood_metrics_by_set([1.0], {"a": [0.0], "b": [math.nan]})
    with pytest.raises(InputError, match="ood_sets: none given"):
        metrics.ood_metrics_by_set([1.0], {})
    with pytest.raises(InputError, match="groups: 'c' is not one of"):
        metrics.ood_metrics_by_set([1.0], {"a": [0.0]}, {"c": "near"})
    with pytest.raises(InputError, match="groups: 'all' is the average"):
        metrics.ood_metrics_by_set([1.0], {"a": [0.0]}, {"a": "all"})


def test_everything_is_what_the_single_functions_say():
    rng = np.random.default_rng(8)
    ids, oods = rng.normal(1, 1, 300).round(1), rng.normal(0, 1, 200).round(1)
    found = metrics.everything(ids, oods, tpr=0.9, level=0.8)
    assert found.figures == metrics.ood_metrics(ids, oods, 0.9)
    assert found.aupr_in_trapezoid == metrics.aupr(ids, oods, "id", "trapezoid")
    assert found.aupr_out_trapezoid == metrics.aupr(ids, oods, "ood", "trapezoid")
    assert found.auroc_interval == metrics.delong_interval(ids, oods, 0.8)


@given(scores, scores, scores)
def test_a_set_of_two_parts_has_the_weighted_mean_of_their_auroc_and_fpr(ids, some, more):
    """Concatenating OOD sets: AUROC and the ID-positive FPR are averages over OOD images."""
    whole, parts = some + more, [(some, len(some)), (more, len(more))]
    for figure in (metrics.auroc, metrics.fpr_at_tpr):
        mean = sum(figure(ids, part) * size for part, size in parts) / len(whole)
        assert figure(ids, whole) == pytest.approx(mean, abs=1e-12)
