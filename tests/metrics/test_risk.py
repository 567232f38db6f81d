"""AURC equals its definition over every order of the ties."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from awkward import AWKWARD
from synood import metrics
from synood.errors import InputError

pytestmark = pytest.mark.numerical


def exact_aurc(values, correct):
    """Mean over the orders of tied images of the mean over k of the error rate."""
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
