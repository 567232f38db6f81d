"""The tuning that is timed is the paper's: its size, its steps, its settings."""

import math

import numpy as np
import pytest

from synood.benchmark.speed.tuning import (
    PAPER,
    TuningWork,
    plain_negatives,
    plain_projection,
    stopped,
)
from synood.settings import NegativeSettings, ProjectionSettings


def steps_of(tune):
    """The steps in all that a callback is told, and those that were made."""
    seen = []
    tune(lambda step, steps, loss: seen.append((step, steps)))
    assert [step for step, _ in seen] == [*range(1, len(seen) + 1)]
    (steps,) = {steps for _, steps in seen}
    assert steps == len(seen)
    return steps


def test_the_paper_s_size_makes_the_paper_s_steps():
    rows = PAPER["images"]
    projection, negatives = ProjectionSettings(), NegativeSettings()
    assert math.ceil(2 * rows / projection.batch_size) * projection.epochs == 2346
    assert math.ceil(rows / negatives.batch_size) * negatives.epochs == 1955
    assert PAPER["classes"] + PAPER["negatives"] == 6620


def test_both_tunings_run_on_all_rows():
    work = TuningWork.random(images=200, classes=7, negatives=11, dim=16)
    assert steps_of(work.tune_projection) == math.ceil(400 / 128) * 3
    assert steps_of(work.tune_negatives) == math.ceil(200 / 128) * 5
    assert work.tune_projection().weight.shape == (16, 16)
    tuned = work.tune_negatives()
    assert tuned.shape == (11, 16)
    assert not np.array_equal(tuned, work.negatives)


def test_the_features_are_the_same_in_every_call_and_of_unit_length():
    first, again = (TuningWork.random(5, 3, 4, 8) for _ in range(2))
    for name in ("images", "synthetic", "classes", "negatives"):
        features = getattr(first, name)
        assert np.array_equal(features, getattr(again, name))
        np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)
        assert features.dtype == np.float32


@pytest.mark.numerical
def test_the_plain_loops_come_to_the_same():
    work = TuningWork.random(images=200, classes=7, negatives=11, dim=16)
    weight, tuned = plain_projection(work), plain_negatives(work)
    np.testing.assert_allclose(weight, work.tune_projection().weight, atol=1e-5)
    np.testing.assert_allclose(tuned, work.tune_negatives(), atol=1e-5)
    assert np.abs(tuned.numpy() - work.negatives).max() > 1e-3


def test_a_tuning_is_stopped_after_so_many_steps():
    seen = []

    def tune(callback):
        for step in range(1, 10):
            seen.append(step)
            callback(step, 9, 0.0)

    assert stopped(tune, lambda step: step == 4) == (4, 9)
    assert seen == [1, 2, 3, 4]
    assert stopped(tune, lambda step: False) == (9, 9)
    assert len(seen) == 4 + 9
