"""Log odds equal a double precision oracle at any distance, tell apart what a share cannot."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from synood import scores
from synood.errors import InputError

pytestmark = pytest.mark.numerical


def oracle(classes, negatives, order):
    """One image's log odds from its logits, by log-sum-exp in Python's own double precision."""

    def logsumexp(values):
        top = max(values)
        return top + math.log(math.fsum(math.exp(value - top) for value in values))

    inside, outside = [], []
    mass = logsumexp(classes)
    for group in order:
        rest = logsumexp([negatives[index] for index in group])
        both = logsumexp([mass, rest])
        # the smaller of p and 1 - p is exact as it stands; the larger is 1 less the smaller
        low, high = min(mass, rest) - both, math.log1p(-math.exp(min(mass, rest) - both))
        inside.append(low if mass <= rest else high)
        outside.append(high if mass <= rest else low)
    return logsumexp(inside) - logsumexp(outside)


@pytest.mark.parametrize("reach", [1.0, 30.0, 90.0, 200.0, 1e4])
@pytest.mark.parametrize(("n_classes", "n_negatives"), [(1, 1), (1, 40), (7, 1), (20, 205)])
@pytest.mark.parametrize("groups", [1, 2, 10, 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_odds_are_the_oracles_up_to_logits_of_ten_thousand(
    reach, n_classes, n_negatives, groups, dtype
):
    rng = np.random.default_rng(5)
    classes = rng.uniform(-reach, reach, (30, n_classes)).astype(dtype)
    negatives = rng.uniform(-reach, reach, (30, n_negatives)).astype(dtype)
    classes[0], negatives[0] = reach, -reach  # the farthest apart on either side
    classes[1], negatives[1] = -reach, reach
    order = scores.group_order(n_negatives, groups, 3)
    rows = zip(classes.tolist(), negatives.tolist(), strict=True)  # as Python's floats
    expected = [oracle(*row, order) for row in rows]
    found = scores.neglabel_log_odds(classes, negatives, 1.0, groups, seed=3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=3e-6, atol=2e-5)


@pytest.mark.parametrize("temperature", [1e-4, 0.01, 0.5])
@pytest.mark.parametrize("groups", [1, 6, 70])
def test_features_have_the_log_odds_of_their_cosines(temperature, groups):
    rng = np.random.default_rng(0)
    classes, negatives, images = (rng.normal(size=(n, 16)) for n in (3, 70, 200))
    scorer = scores.NegLabelScorer.from_features(classes, negatives, temperature, groups, seed=9)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (images, classes)]
    away = negatives / np.linalg.norm(negatives, axis=1, keepdims=True)
    cosines = unit[0] @ unit[1].T, unit[0] @ away.T
    expected = scores.neglabel_log_odds(*cosines, temperature, groups, seed=9)
    found = scorer.log_odds(5.0 * images)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=3e-7 / temperature)
    np.testing.assert_allclose(scorer(images), scores.share(found), atol=1e-6)


logits = st.floats(-1e4, 1e4, width=32)


@settings(max_examples=200)
@given(
    hnp.arrays(np.float32, st.tuples(st.just(4), st.integers(1, 3)), elements=logits),
    hnp.arrays(np.float32, st.tuples(st.just(4), st.integers(1, 9)), elements=logits),
    st.sampled_from([1, 2, 3, 100]),
)
def test_log_odds_are_finite_and_rise_with_the_share(classes, negatives, groups):
    odds = scores.neglabel_log_odds(classes, negatives, 1.0, groups)
    shares = scores.neglabel(classes, negatives, 1.0, groups)
    assert np.isfinite(odds).all()
    np.testing.assert_allclose(scores.share(odds), shares, rtol=1e-3, atol=1e-6)
    in_order = shares[np.argsort(odds)]  # up to the rounding of single precision, as above
    assert (np.diff(in_order) >= -1e-6 - 1e-3 * in_order[1:]).all()


@settings(max_examples=100)
@given(
    hnp.arrays(np.float64, (1, 3), elements=st.floats(-500, 500)),
    hnp.arrays(np.float64, (1, 8), elements=st.floats(-500, 500)),
    st.floats(-1e3, 1e3),
    st.sampled_from([1, 4]),
)
def test_a_common_shift_changes_nothing_and_one_group_swaps_sides(classes, negatives, by, groups):
    odds = scores.neglabel_log_odds(classes, negatives, 1.0, groups)
    moved = scores.neglabel_log_odds(classes + by, negatives + by, 1.0, groups)
    np.testing.assert_allclose(moved, odds, rtol=1e-6, atol=1e-6)
    swapped = scores.neglabel_log_odds(negatives, classes, 1.0, 1)
    plain = scores.neglabel_log_odds(classes, negatives, 1.0, 1)
    np.testing.assert_allclose(swapped, -plain, rtol=1e-6, atol=1e-6)


def test_rows_that_need_the_slow_way_change_no_other():
    rng = np.random.default_rng(1)
    classes, negatives = rng.uniform(0, 0.5, (60, 4)), rng.uniform(0, 0.5, (60, 30))
    plain = scores.neglabel_log_odds(classes, negatives, 0.01, 5)
    classes[::7] = 3.0
    mixed = scores.neglabel_log_odds(classes, negatives, 0.01, 5)
    others = np.arange(60) % 7 != 0
    np.testing.assert_array_equal(mixed[others], plain[others])
    assert (mixed[~others] > 200).all()


def test_absent_labels_count_for_nothing():
    absent = scores.neglabel_log_odds([[1.0]], [[0.0, -math.inf]], 1.0, groups=1)
    assert absent[0] == 1.0
    assert scores.neglabel([[1.0]], [[-math.inf]])[0] == 1.0
    assert scores.neglabel_log_odds([[1.0]], [[-math.inf]])[0] == math.inf


def test_the_share_of_log_odds_lies_in_the_interval_and_says_no_overflow():
    with np.errstate(all="raise"):
        found = scores.share(np.array([-1e4, -1.0, 0.0, 1.0, 1e4], np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [0, 1 / (1 + math.e), 0.5, math.e / (1 + math.e), 1])
    with pytest.raises(InputError, match="log odds: dtype"):
        scores.share(["a"])
    with pytest.raises(InputError, match="row 0 holds NaN"):
        scores.neglabel_log_odds([[1.0]], [[math.nan]])
    with pytest.raises(InputError, match="row 1 holds NaN or infinity"):
        scores.neglabel_log_odds([[1.0], [math.inf]], [[1.0], [1.0]])
