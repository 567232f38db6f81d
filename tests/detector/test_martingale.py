"""The martingale: fair bets on uniform ranks, few false alarms ever, and drift found."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import kstest

from synood.detector.martingale import POWERS, Martingale, OnlineRanks, StreamTest
from synood.errors import InputError

pytestmark = pytest.mark.numerical

LEVEL = 0.1  # so high that a test too liberal by half shows in 300 streams


def p_values(reference, stream, **options):
    ranks = OnlineRanks(reference, **options)
    return [ranks.p_value(value) for value in stream]


def alarms(streams, reference=0, kept=10_000, length=300, draw=None):
    """Fraction of streams whose test ever tells of drift."""
    rng, found = np.random.default_rng(reference + kept), 0
    draw = draw or (lambda rng, size: rng.normal(size=size))
    for seed in range(streams):
        values = draw(rng, reference + length)
        test = StreamTest(values[:reference], LEVEL, seed=seed)
        test._ranks._kept = kept
        for value in values[reference:].tolist():
            test.add(value)
        found += test.state.is_drift
    return found / streams


# Ranks


@given(st.lists(st.integers(0, 5), max_size=8), st.lists(st.integers(0, 5), min_size=1, max_size=9))
def test_a_rank_lies_among_those_of_the_ties_counted_one_by_one(reference, stream):
    seen = [*reference]
    for value, found in zip(stream, p_values(reference, stream), strict=True):
        lower = sum(other < value for other in seen)
        equal = sum(other == value for other in seen) + 1
        assert lower / (len(seen) + 1) < found <= (lower + equal) / (len(seen) + 1)
        seen.append(value)


@pytest.mark.parametrize("kept", [1, 7, 10_000])
@pytest.mark.parametrize("reference", [0, 5, 40])
def test_p_values_of_one_kind_are_uniform_and_independent(reference, kept):
    """Over 800 streams: any of them, and a product of two, as of independent uniform numbers."""
    rng = np.random.default_rng(kept + reference)
    found = np.array(
        [
            p_values(values[:reference], values[reference:].tolist(), kept=kept, seed=seed)
            for seed in range(800)
            for values in [rng.gumbel(size=reference + 12).round(1)]
        ]
    )
    for place in (0, 1, 6, 11):
        assert kstest(found[:, place], "uniform").pvalue > 1e-3
    for one, other in ((0, 1), (1, 2), (3, 11), (10, 11)):
        both = found[:, one] * found[:, other]
        assert kstest(both, lambda u: u * (1 - np.log(np.maximum(u, 1e-12)))).pvalue > 1e-3


def test_memory_is_bounded_and_what_is_forgotten_is_random():
    ranks = OnlineRanks(range(50), kept=30)
    assert len(ranks._values) == 30
    for value in range(1000, 1400):
        ranks.p_value(value)
    assert len(ranks._values) == 30
    assert ranks._values == sorted(ranks._values)
    assert len({value // 100 for value in ranks._values}) > 1  # not the newest alone


# Money


@pytest.mark.parametrize("lower", [True, False])
def test_every_bet_is_fair(lower):
    """The money is expected to be worth what it is, whatever came before."""
    money = Martingale(lower=lower)
    for p_value in (0.2, 0.01, 0.5, 0.9):
        money.bet(p_value)

    def after(p_value):
        copy = Martingale(lower=lower)
        copy.__dict__.update({**money.__dict__, "_bets": [*money._bets]})
        return math.exp(copy.bet(p_value))

    expected = quad(after, 0, 1, points=[0.5], limit=200)[0]
    assert expected == pytest.approx(math.exp(money.log_value), rel=1e-3)


def test_the_money_is_the_sum_over_times_to_begin_to_bet():
    """An oracle: every bet begun at every time, at its share, multiplied out."""
    rng = np.random.default_rng(0)
    found, sequence = Martingale(), rng.beta(0.5, 1.0, 40)
    for p_value in sequence:
        found.bet(p_value)
    unspent = [math.log(10) / math.log(10 + t) for t in range(41)]
    total = unspent[-1]
    for begun in range(40):
        part = (unspent[begun] - unspent[begun + 1]) / (4 * len(POWERS))
        for view in (
            lambda p: p,
            lambda p: 1 - p,
            lambda p: abs(2 * p - 1),
            lambda p: 1 - abs(2 * p - 1),
        ):
            for power in POWERS:
                total += part * math.prod(power * view(p) ** (power - 1) for p in sequence[begun:])
    assert found.log_value == pytest.approx(math.log(total), rel=1e-9)


def test_money_beyond_what_a_float_holds_is_counted():
    money = Martingale(lower=True)
    values = [money.bet(1e-6) for _ in range(400)]
    assert values[-1] > 3000
    assert np.all(np.diff(values) > 0)
    assert np.diff(values)[-1] == pytest.approx(np.diff(values)[-50])
    for _ in range(5000):
        money.bet(0.999)
    assert math.isfinite(money.log_value)
    assert money.log_value < values[-1]
    assert all(math.isfinite(Martingale().bet(p)) for p in (0.0, 1.0, 0.5, 1e-320))


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=30), st.data())
def test_with_lower_alone_larger_p_values_never_pay_more(sequence, data):
    money, other = Martingale(lower=True), Martingale(lower=True)
    for p_value in sequence:
        larger = data.draw(st.floats(p_value, 1))
        assert other.bet(larger) <= money.bet(p_value) + 1e-9


# Alarms


@pytest.mark.parametrize(("reference", "kept"), [(0, 10_000), (5, 10_000), (40, 10_000), (40, 25)])
def test_false_alarms_ever_are_no_more_than_the_level(reference, kept):
    """300 streams of 300; three deviations of the count are allowed above the level."""
    assert alarms(300, reference, kept) <= LEVEL + 3 * math.sqrt(LEVEL / 300)


def test_ties_make_no_false_alarms():
    rate = alarms(200, 10, draw=lambda rng, size: rng.integers(0, 3, size).astype(float))
    assert rate <= LEVEL + 3 * math.sqrt(LEVEL / 200)


def test_a_reference_that_does_not_grow_would_make_them():
    """Why ranks are among the stream too: against 20 images alone, most streams are alarmed of."""
    rng, found = np.random.default_rng(0), 0
    for _ in range(40):
        known, money = np.sort(rng.normal(size=20)), Martingale()
        ranks = (np.searchsorted(known, rng.normal(size=2000)) + rng.random(2000)) / 21
        found += any(money.bet(p) >= -math.log(LEVEL) for p in ranks.tolist())
    assert found / 40 > 0.8


@pytest.mark.parametrize(
    ("change", "after", "within"),
    [
        (lambda rng, n: rng.normal(size=n) - 1.0, 0, 100),
        (lambda rng, n: rng.normal(size=n) + 1.0, 0, 100),
        (lambda rng, n: rng.normal(size=n) - 1.0, 2000, 150),
        (lambda rng, n: 2.0 * rng.normal(size=n), 0, 150),
        (lambda rng, n: 0.4 * rng.normal(size=n), 0, 200),
        (lambda rng, n: rng.normal(size=n) - 6.0 * (rng.random(n) < 0.2), 0, 300),
    ],
    ids=["lower", "higher", "late", "wider", "narrower", "a fifth is OOD"],
)
def test_drift_is_found_soon(change, after, within):
    """With 200 images as the reference and a level of 1 %, in nine of ten streams."""
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        test = StreamTest(rng.normal(size=200), 0.01, seed=seed)
        for value in (*rng.normal(size=after), *change(rng, within)):
            test.add(float(value))
        at = test.state.alarm_at
        found.append(at is not None and at > after)
    assert np.mean(found) >= 0.9


def test_the_state_says_when_and_how_much():
    rng, test = np.random.default_rng(0), StreamTest(range(50))
    assert (test.state.is_drift, test.state.p_val, test.state.alarm_at) == (False, 1.0, None)
    for count in range(1, 200):
        test.add(-5.0 if count > 100 else float(rng.uniform(0, 50)))
        state = test.state
        assert state.is_drift == (state.p_val <= state.threshold)
        assert state.images == count
        assert state.p_val == pytest.approx(10**-state.distance)
        assert state.log10_value <= state.distance
    assert 100 < state.alarm_at < 150
    most = state.distance
    for _ in range(3000):
        test.add(20.0)
    assert test.state.is_drift  # once told, it stays told
    assert test.state.distance >= most


def test_cross_fitted_references_are_drifted_from_downwards_alone():
    for shift, told in ((-2.0, True), (2.0, False)):
        rng = np.random.default_rng(0)
        test = StreamTest(rng.normal(size=100), cross_fitted=True)
        for value in rng.normal(size=200) + shift:
            test.add(float(value))
        assert test.state.is_drift == told


@pytest.mark.parametrize("level", [0, 1, -0.1, math.nan, "0.01", True])
def test_what_is_no_level_is_refused(level):
    with pytest.raises(InputError, match="level: must be between 0 and 1"):
        StreamTest(level=level)


def test_what_is_no_number_is_refused():
    with pytest.raises(InputError, match="NaN or infinity"):
        StreamTest([1.0, math.nan])
    test = StreamTest()
    with pytest.raises(InputError, match="not finite"):
        test.add(math.inf)
    assert test.state.images == 0
