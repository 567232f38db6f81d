"""Paired tests of two methods on the same images."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from synood import metrics
from synood.errors import InputError

pytestmark = pytest.mark.numerical


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
    with pytest.raises(InputError, match="metric: 'fpr' is not one of auroc"):
        metrics.bootstrap_test(([1, 2], [0, 1]), ([1, 2], [0, 1]), "fpr")
    with pytest.raises(InputError, match="at least two"):
        metrics.delong_test(([1], [0, 1]), ([1], [0, 1]))
