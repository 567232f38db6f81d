"""Watching: windows and streams against a reference, and what a `Watch` keeps of predictions."""

from __future__ import annotations

import math
import sys
import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synood.detector.calibration import calibrate_threshold
from synood.detector.drift import compare_scores
from synood.detector.prediction import Prediction
from synood.detector.watching import (
    Observed,
    Watch,
    compare,
    compare_window,
    population_stability,
)
from synood.errors import InputError

pytestmark = pytest.mark.numerical


def prediction(score, looks=None, label="cat"):
    return Prediction(score, score < 0, label, image_evidence=looks)


# The population stability index


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=60), st.lists(st.floats(-9, 9), min_size=1))
def test_the_index_is_that_of_its_bins_counted_one_by_one(known, new):
    value, bins = population_stability(known, new)
    ordered = sorted(known)
    edges = sorted({ordered[math.ceil(k * (len(known) - 1) / 10 - 1e-9)] for k in range(1, 10)})
    limits = [-math.inf, *edges, math.inf]
    assert bins == len(edges) + 1
    total = 0.0
    for low, high in pairwise(limits):
        p, q = (
            (sum(low <= one < high for one in side) + 0.5) / (len(side) + bins / 2)
            for side in (known, new)
        )
        total += (q - p) * math.log(q / p)
    assert value == pytest.approx(total, abs=1e-9)
    assert value >= -1e-12


def test_unchanged_images_have_about_the_index_that_is_said():
    rng = np.random.default_rng(0)
    for known, new in ((100, 300), (1000, 100)):
        states = [
            compare_window(rng.normal(size=known), rng.normal(size=new), 0.01) for _ in range(300)
        ]
        mean = np.mean([state.psi for state in states])
        assert 0.75 < mean / states[0].psi_unchanged < 1.15


def test_a_shift_has_the_index_that_its_distributions_have():
    """Of normals a deviation apart, in tenths of the first: 0.87 by the normal distribution."""
    from scipy.stats import norm

    edges = norm.ppf(np.arange(1, 10) / 10)
    p, q = (np.diff([0, *norm.cdf(edges + shift), 1]) for shift in (0, 1))
    rng = np.random.default_rng(0)
    value, _ = population_stability(rng.normal(size=40_000), rng.normal(size=40_000) - 1)
    assert value == pytest.approx(((q - p) * np.log(q / p)).sum(), rel=0.05)


# A window at once


def test_a_window_is_tested_as_compare_scores_does():
    rng = np.random.default_rng(0)
    known, new = rng.normal(size=80), rng.normal(size=50) - 0.7
    found, plain = compare_window(known, new, 0.01), compare_scores(known, new)
    assert (found.p_val, found.distance) == (plain.p_value, plain.distance)
    assert found.is_drift
    assert found.lower
    assert not compare_window(known, new, found.p_val).is_drift
    assert not compare_window(-known, -new, 0.01, cross_fitted=True).is_drift
    assert compare_window(known, new, 0.01, cross_fitted=True).is_drift


@pytest.mark.parametrize(("known", "new"), [(1, 1), (1, 50), (50, 1)])
def test_single_images_are_compared_and_are_no_drift(known, new):
    found = compare_window(np.zeros(known), np.full(new, -9.0), 0.01)
    assert not found.is_drift
    assert math.isfinite(found.psi)


# Two sets of images


def observed(rng, count, scores=0.0, looks=0.0):
    return Observed(
        (rng.normal(size=count) + scores).astype(np.float32),
        (rng.normal(size=count) + looks).astype(np.float32),
    )


def test_the_level_is_shared_by_every_test():
    rng = np.random.default_rng(0)
    both = compare(observed(rng, 50), observed(rng, 50), 0.04)
    parts = [*both.windows.values(), *both.streams.values()]
    assert [part.threshold for part in parts] == [0.01] * 4
    one = compare(observed(rng, 50), Observed(rng.normal(size=50).astype(np.float32)), 0.04)
    assert set(one.windows) == set(one.streams) == {"score"}
    assert one.windows["score"].threshold == 0.02


@pytest.mark.parametrize("known", [15, 60])
def test_false_alarms_of_all_tests_together_are_no_more_than_the_level(known):
    rng, found = np.random.default_rng(known), 0
    for _ in range(200):
        found += compare(observed(rng, known), observed(rng, 100), 0.1).is_drift
    assert found / 200 <= 0.1 + 3 * math.sqrt(0.1 / 200)


@pytest.mark.parametrize("shift", [{"scores": -1.5}, {"looks": -1.5}, {"looks": 1.5}])
def test_a_change_of_either_is_drift(shift):
    rng = np.random.default_rng(0)
    found = compare(observed(rng, 100), observed(rng, 100, **shift))
    name = "score" if "scores" in shift else "image_evidence"
    assert found.is_drift
    assert found.windows[name].is_drift
    assert found.streams[name].is_drift
    assert not any(
        part.is_drift
        for parts in (found.windows, found.streams)
        for other, part in parts.items()
        if other != name
    )


def test_a_change_in_the_middle_that_comes_and_goes_is_told_by_the_stream():
    rng = np.random.default_rng(0)
    window = rng.normal(size=2000)
    window[500:560] -= 4
    found = compare(Observed(rng.normal(size=500)), Observed(window))
    assert not found.windows["score"].is_drift
    assert 500 < found.streams["score"].alarm_at < 560


def test_calibration_images_are_a_reference_with_verdicts():
    calibration = calibrate_threshold(np.arange(40.0), 0.9, image_evidence=np.arange(40.0))
    reference = Observed.of(calibration, ["a", "b"])
    assert [reference.verdicts()[""].ood, reference.verdicts()[""].judged] == [3, 40]
    assert reference.labels is None
    by_class = calibrate_threshold(np.arange(40.0), 0.9, np.arange(40) % 2)
    counts = Observed.of(by_class, ["a", "b"]).verdicts()
    assert {name: (one.images, one.ood) for name, one in counts.items()} == {
        "a": (20, 1),
        "b": (20, 1),
    }


# A watch


def test_a_watch_says_what_the_tests_say_of_the_same_predictions():
    rng = np.random.default_rng(0)
    known, new = observed(rng, 80), observed(rng, 70, looks=-2.0)
    watch = Watch(known.scores, known.image_evidence, level=0.02)
    for score, looks in zip(new.scores.tolist(), new.image_evidence.tolist(), strict=True):
        watch.add(prediction(score, looks))
    state = watch.state
    expected = compare(known, new, 0.04)  # whose level is shared by twice as many tests
    assert state.windows == expected.windows
    assert state.streams == expected.streams
    assert state.is_drift
    assert (state.images, state.unreadable, state.level) == (70, 0, 0.02)


def test_a_window_is_of_the_latest_images_and_shows_from_twenty_on():
    watch = Watch(np.arange(100.0), window=30)
    for _ in range(19):
        watch.add(prediction(50.0))
    assert watch.state.windows == {}
    for score in np.linspace(0, 99, 40):
        watch.add(prediction(float(score)))
    latest = np.linspace(0, 99, 40)[-30:]
    assert watch.state.windows["score"] == compare_window(np.arange(100.0), latest, 0.01)
    assert watch.state.streams["score"].images == 59


def test_verdicts_are_counted_by_class_and_unreadable_images_apart():
    watch = Watch()
    for score, label in ((1.0, "cat"), (-1.0, "cat"), (2.0, "dog")):
        watch.add(prediction(score, label=label))
    watch.add(Prediction(1.0, None, "dog"))
    watch.add(Prediction(math.nan, None, "", error="a.jpg: is empty"))
    state = watch.state
    counts = {name: (one.images, one.judged, one.ood) for name, one in state.verdicts.items()}
    assert counts == {"cat": (2, 2, 1), "dog": (2, 1, 0)}
    assert (state.images, state.unreadable) == (4, 1)
    assert "image_evidence" not in state.streams


def test_a_watch_of_a_calibration_follows_what_it_keeps():
    scores = np.arange(30.0)
    both = Watch.of(calibrate_threshold(scores, image_evidence=scores))
    assert set(both.state.streams) == {"score", "image_evidence"}
    assert set(Watch.of(calibrate_threshold(scores)).state.streams) == {"score"}
    nothing = Watch.of(None)
    for score in np.random.default_rng(0).normal(size=60):
        nothing.add(prediction(float(score)))
    assert nothing.state.windows == {}
    assert not nothing.state.is_drift
    for score in np.random.default_rng(0).normal(size=60) - 5:
        nothing.add(prediction(float(score)))
    assert nothing.state.is_drift  # against its own past


def test_memory_stays_what_it_is():
    watch = Watch(np.arange(50.0), window=100)
    test = watch._quantities["score"]
    test.stream._ranks._kept = 200

    def size():
        return len(test.latest), len(test.stream._ranks._values), len(watch._verdicts)

    for count in range(1000):
        watch.add(prediction(float(count % 50)))
    before = size(), sys.getsizeof(test.stream._capital._bets)
    for count in range(1000):
        watch.add(prediction(float(count % 50)))
    assert (size(), sys.getsizeof(test.stream._capital._bets)) == before
    assert size() == (100, 200, 1)


def test_threads_add_and_look_at_once():
    watch, done = Watch(np.arange(50.0)), []

    def work(act):
        for _ in range(300):
            act()
        done.append(act)

    acts = [lambda: watch.add(prediction(25.0))] * 3 + [lambda: watch.state]
    threads = [threading.Thread(target=work, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 4
    assert watch.state.images == 900
    assert watch.state.verdicts["cat"].images == 900


def test_what_is_no_level_is_refused():
    with pytest.raises(InputError, match="level: must be between 0 and 1"):
        Watch(level=5)
    with pytest.raises(InputError, match="level: must be between 0 and 1"):
        compare(Observed(np.zeros(3)), Observed(np.zeros(3)), 0)
