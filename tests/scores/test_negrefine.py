"""NegRefine's score: the sum of shares in the authors' code, without its saturation."""

from __future__ import annotations

import numpy as np
import pytest

from synood import scores
from synood.errors import InputError

pytestmark = pytest.mark.numerical


def drawn(seed, n=40, classes=5, negatives=5):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(0, 3, n),
        rng.uniform(0.1, 0.4, (n, classes, negatives)),
        rng.uniform(0.1, 0.4, (n, negatives)),
    )


@pytest.mark.parametrize("weight", [2.0, 0.5])
def test_three_times_the_share_is_the_sum_of_both_shares(weight):
    odds, pairs, negatives = drawn(0)
    found = scores.negrefine(odds, pairs, negatives, 0.05, weight)
    for i, log_odds in enumerate(found):
        neglabel = 1 / (1 + np.exp(-odds[i]))
        best = max(
            np.exp(pairs[i, p, n] / 0.05)
            / (np.exp(pairs[i, p, n] / 0.05) + np.exp(negatives[i, n] / 0.05))
            for p in range(5)
            for n in range(5)
        )
        total = (1 + weight) / (1 + np.exp(-float(log_odds)))
        assert total == pytest.approx(neglabel + weight * best, rel=1e-5)


def test_images_far_inside_and_far_outside_are_still_told_apart():
    pairs = np.array([[[0.9]], [[0.9]], [[0.0]], [[0.0]]])
    negatives = np.array([[0.0], [0.1], [0.9], [1.0]])
    found = scores.negrefine([90.0, 80.0, -80.0, -90.0], pairs, negatives)
    assert (np.diff(found) < 0).all()


def test_shapes_that_do_not_fit_are_named():
    odds, pairs, negatives = drawn(1)
    for wrong in ((odds, pairs[0], negatives), (odds[:3], pairs, negatives), (odds, pairs, odds)):
        with pytest.raises(InputError, match="pair_similarity"):
            scores.negrefine(*wrong)
    with pytest.raises(InputError, match=r"weight: 0\.0 is not positive"):
        scores.negrefine(odds, pairs, negatives, weight=0.0)
