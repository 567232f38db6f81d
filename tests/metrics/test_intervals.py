"""Bootstrap and DeLong intervals equal their definitions and cover what they promise."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from awkward import scores
from synood import metrics
from synood.errors import InputError

pytestmark = pytest.mark.numerical


def test_bootstrap_equals_a_loop_that_resamples_the_scores():
    rng = np.random.default_rng(0)
    ids = np.sort(rng.normal(1, 1, 40).round(1))
    oods = np.sort(rng.normal(0, 1, 30).round(1))
    found = metrics.bootstrap_interval(ids, oods, resamples=50, seed=3, level=0.8, tpr=0.9)

    # Same draws, in the order in which samples are owned: from the highest score downwards.
    draws, again = [], np.random.default_rng(3)
    for _ in range(50):
        some_ids = ids[::-1][again.integers(0, 40, 40)]
        some_oods = oods[::-1][again.integers(0, 30, 30)]
        draws.append(asdict(metrics.ood_metrics(some_ids, some_oods, tpr=0.9)))
    for name, (low, high) in found.items():
        values = [draw[name] for draw in draws]
        assert low == pytest.approx(np.quantile(values, 0.1), abs=1e-12)
        assert high == pytest.approx(np.quantile(values, 0.9), abs=1e-12)


def test_bootstrap_is_a_function_of_its_seed_and_brackets_the_metric():
    rng = np.random.default_rng(1)
    ids, oods = rng.normal(1, 1, 400), rng.normal(0, 1, 300)
    first = metrics.bootstrap_interval(ids, oods, seed=1)
    assert first == metrics.bootstrap_interval(ids, oods, seed=1)
    assert first != metrics.bootstrap_interval(ids, oods, seed=2)
    for name, value in asdict(metrics.ood_metrics(ids, oods)).items():
        low, high = first[name]
        assert low < value < high
    wider = metrics.bootstrap_interval(ids, oods, seed=1, level=0.99)
    assert wider["auroc"][0] < first["auroc"][0] < first["auroc"][1] < wider["auroc"][1]


def test_delong_equals_the_variance_of_the_placements():
    rng = np.random.default_rng(2)
    ids, oods = rng.normal(1, 1, 31).round(1), rng.normal(0, 1, 17).round(1)
    wins = (ids[:, None] > oods) + 0.5 * (ids[:, None] == oods)
    deviation = math.sqrt(
        wins.mean(axis=1).var(ddof=1) / len(ids) + wins.mean(axis=0).var(ddof=1) / len(oods)
    )
    low, high = metrics.delong_interval(ids, oods)
    assert low == pytest.approx(wins.mean() - 1.959963984540054 * deviation, abs=1e-12)
    assert high == pytest.approx(wins.mean() + 1.959963984540054 * deviation, abs=1e-12)


def test_both_intervals_of_the_auroc_cover_the_truth_as_often_as_they_say():
    truth = 0.5 * (1.0 + math.erf(1.0 / 2.0))  # two unit normals, one deviation apart
    rng = np.random.default_rng(4)
    held = np.zeros(2)
    for _ in range(300):
        ids, oods = rng.normal(1, 1, 80), rng.normal(0, 1, 60)
        intervals = [
            metrics.delong_interval(ids, oods, level=0.9),
            metrics.bootstrap_interval(ids, oods, resamples=60, level=0.9)["auroc"],
        ]
        held += [low <= truth <= high for low, high in intervals]
    assert held[0] / 300 == pytest.approx(0.9, abs=0.05)
    assert held[1] / 300 == pytest.approx(0.9, abs=0.06)


@settings(max_examples=50)
@given(scores, scores, st.integers(0, 2**32))
def test_intervals_stay_within_zero_and_one(ids, oods, seed):
    intervals = metrics.bootstrap_interval(ids, oods, resamples=5, seed=seed)
    assert list(intervals) == list(asdict(metrics.ood_metrics(ids, oods)))
    if min(len(ids), len(oods)) > 1:
        intervals["delong"] = metrics.delong_interval(ids, oods)
    assert all(0.0 <= low <= high <= 1.0 for low, high in intervals.values())


def test_a_perfect_ranking_has_a_point_as_interval():
    assert metrics.delong_interval([3, 4], [1, 2]) == (1.0, 1.0)
    perfect = metrics.bootstrap_interval([3, 4], [1, 2], resamples=5)
    assert perfect["auroc"] == (1.0, 1.0)
    assert perfect["fpr95"] == (0.0, 0.0)


def test_full_metrics_equal_the_single_functions():
    rng = np.random.default_rng(8)
    ids, oods = rng.normal(1, 1, 300).round(1), rng.normal(0, 1, 200).round(1)
    found = metrics.full_metrics(ids, oods, tpr=0.9, level=0.8)
    assert found.metrics == metrics.ood_metrics(ids, oods, 0.9)
    assert found.aupr_in_trapezoid == metrics.aupr(ids, oods, "id", "trapezoid")
    assert found.aupr_out_trapezoid == metrics.aupr(ids, oods, "ood", "trapezoid")
    assert found.auroc_interval == metrics.delong_interval(ids, oods, 0.8)


@pytest.mark.parametrize(("ids", "oods"), [([0.9], [0.1]), ([0.9, 0.2], [0.1]), ([0.9], [0.1, 1])])
def test_full_metrics_of_one_score_a_side_have_no_delong_interval(ids, oods):
    found = metrics.full_metrics(ids, oods)
    assert found.metrics == metrics.ood_metrics(ids, oods)
    assert found.aupr_out_trapezoid == metrics.aupr(ids, oods, "ood", "trapezoid")
    assert found.auroc_interval is None
    with pytest.raises(InputError, match="level: 1"):
        metrics.full_metrics(ids, oods, level=1.0)
