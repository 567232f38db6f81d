"""Many OOD sets at once equal the sets one by one."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from awkward import scores
from synood import metrics
from synood.errors import InputError

pytestmark = pytest.mark.numerical


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


@given(scores, scores, scores)
def test_a_set_of_two_parts_has_the_weighted_mean_of_their_auroc_and_fpr(ids, some, more):
    """Concatenating OOD sets: AUROC and the ID-positive FPR are averages over OOD images."""
    whole, parts = some + more, [(some, len(some)), (more, len(more))]
    for metric in (metrics.auroc, metrics.fpr_at_tpr):
        mean = sum(metric(ids, part) * size for part, size in parts) / len(whole)
        assert metric(ids, whole) == pytest.approx(mean, abs=1e-12)
