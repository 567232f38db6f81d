"""Tuned negatives equal a twin with gradients by hand and move to their images, nothing else."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synood.errors import InputError
from synood.settings import NegativeSettings
from synood.tuning.assignment import compact
from synood.tuning.negatives import tune_negatives

pytestmark = pytest.mark.numerical

SETTINGS = NegativeSettings(epochs=5, batch_size=16)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def planted(seed=0, count=6, dim=20, per_text=12, angle=0.3, length=3.0):
    """Negatives (M', D), close to each other as CLIP's are, and images off each of them."""
    rng = np.random.default_rng(seed)
    texts = unit(rng.normal(size=dim) + 0.15 * rng.normal(size=(count, dim)))
    centres = unit(texts + angle * unit(rng.normal(size=(count, dim))))
    targets = np.repeat(np.arange(count), per_text)
    images = 7 * unit(centres[targets] + 0.05 * rng.normal(size=(len(targets), dim)))
    return images.astype(np.float32), targets, (length * texts).astype(np.float32)


def by_hand(images, targets, negatives, given_settings, seed, classes=None):
    """SGD in double precision; the gradient of the softmax and of the division by the length."""
    s = given_settings
    x, y = unit(images.astype(float)), np.asarray(targets)
    vectors, speed = negatives.astype(float), np.zeros(negatives.shape)
    fixed = np.zeros((0, x.shape[1])) if classes is None else unit(classes.astype(float))
    rng = np.random.default_rng(seed)
    for epoch in range(s.epochs):
        rate = s.learning_rate * (1 + math.cos(math.pi * epoch / s.epochs)) / 2
        order = rng.permutation(len(x))
        for first in range(0, len(x), s.batch_size):
            rows = order[first : first + s.batch_size]
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            directions = vectors / lengths
            logits = s.logit_scale * x[rows] @ np.concatenate([directions, fixed]).T
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            error = odds / odds.sum(axis=1, keepdims=True)
            error[np.arange(len(rows)), y[rows]] -= 1
            pull = s.logit_scale * error[:, : len(vectors)].T @ x[rows] / len(rows)
            along = (pull * directions).sum(axis=1, keepdims=True)
            gradient = (pull - along * directions) / lengths + s.weight_decay * vectors
            speed = s.momentum * speed + gradient
            vectors = vectors - rate * speed
    return vectors


@pytest.mark.parametrize("rate", [2e-3, 2e-2])
@pytest.mark.parametrize("with_classes", [False, True])
def test_equals_gradients_by_hand(rate, with_classes):
    images, targets, negatives = planted()
    classes = np.random.default_rng(9).normal(size=(4, 20)).astype(np.float32)
    chosen = replace(SETTINGS, learning_rate=rate, include_classes=with_classes)

    tuned = tune_negatives(images, targets, negatives, chosen, 4, class_features=classes)

    twin = by_hand(images, targets, negatives, chosen, 4, classes if with_classes else None)
    assert tuned.dtype == np.float32
    np.testing.assert_allclose(unit(tuned), unit(twin), rtol=0, atol=1e-6)
    np.testing.assert_allclose(tuned, twin, rtol=1e-6, atol=1e-6)
    assert np.abs(tuned - negatives).max() > 1e-3


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 8), st.integers(0, 5), st.floats(0.3, 1.3))
def test_used_rows_move_to_their_images_and_the_others_stay(seed, count, spare, angle):
    # All directions are orthogonal: being pushed off the others cannot look like losing one's own.
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(20, 20)))[0].astype(np.float32)
    centres = math.cos(angle) * basis[:count] + math.sin(angle) * basis[count : 2 * count]
    labels = np.arange(count).repeat(6)
    rows = rng.permutation(count + spare)
    features = rng.normal(size=(count + spare, 20)).astype(np.float32)
    features[rows[:count]] = basis[:count]
    before = features.copy()
    soft = replace(SETTINGS, logit_scale=5.0)  # at 100 all would be settled and nothing move

    used, targets = compact(rows[labels])
    features[used] = tune_negatives(7 * centres[labels], targets, features[used], soft, seed)

    for row, centre in zip(rows, centres, strict=False):
        assert unit(features[row].astype(float)) @ centre > unit(before[row]) @ centre + 1e-6
    unused = rows[count:]
    assert features[unused].tobytes() == before[unused].tobytes()


def test_the_loss_goes_down():
    losses, totals = [], []

    def note(step, total, loss):
        losses.append(loss)
        totals.append((step, total))

    tune_negatives(*planted(angle=2.0), SETTINGS, 0, callback=note)

    # 72 images in batches of 16 are 5 steps an epoch, the last of 8 images.
    assert totals == [(step, 25) for step in range(1, 26)]
    assert np.mean(losses[-5:]) < 0.2 * np.mean(losses[:5])


def test_least_steps_add_epochs():
    steps = []
    chosen = replace(SETTINGS, epochs=1, min_steps=11)

    tune_negatives(*planted(), chosen, 0, callback=lambda *step: steps.append(step))

    assert len(steps) == 15
    same = tune_negatives(*planted(), replace(SETTINGS, epochs=3), 0)
    assert tune_negatives(*planted(), chosen, 0).tobytes() == same.tobytes()


def test_longer_negatives_turn_more_slowly():
    def turned(length):
        images, targets, negatives = planted(length=length)
        tuned = tune_negatives(images, targets, negatives, SETTINGS, 0)
        return (1 - (unit(tuned) * unit(negatives)).sum(axis=1)).mean()

    assert turned(1.0) > turned(3.0) > turned(10.0) > 0


def test_classes_in_the_softmax_keep_negatives_away_from_them():
    images, targets, negatives = planted(angle=1.2)
    classes = unit(images.reshape(6, -1, 20).mean(axis=1) + 2 * negatives[::-1] / 3)

    def nearness(include):
        chosen = replace(SETTINGS, include_classes=include, min_steps=100)
        tuned = tune_negatives(images, targets, negatives, chosen, 0, class_features=classes)
        return (unit(tuned) @ classes.T).mean()

    assert nearness(True) < nearness(False) - 1e-3


def test_classes_count_only_when_asked_for():
    data = planted()
    classes = np.ones((2, 20))

    without = tune_negatives(*data, SETTINGS, 0)

    assert tune_negatives(*data, SETTINGS, 0, class_features=classes).tobytes() == without.tobytes()
    with pytest.raises(InputError, match="no class features are given"):
        tune_negatives(*data, replace(SETTINGS, include_classes=True), 0)


def test_same_seed_same_bytes_and_arguments_stay():
    data = planted()
    copies = [array.copy() for array in data]
    for array in data:
        array.setflags(write=False)

    first, again = (tune_negatives(*data, SETTINGS, 3) for _ in range(2))

    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != tune_negatives(*data, SETTINGS, 4).tobytes()
    assert all((a == b).all() for a, b in zip(data, copies, strict=True))


@pytest.mark.parametrize(
    ("place", "change", "message"),
    [
        (0, lambda a: a[:0], "synthetic features: need shape"),
        (0, lambda a: a[:, 1:], r"synthetic features: need shape \(N, 20\)"),
        (1, lambda a: a + 1, "synthetic targets: 1 to 6 do not all name one of 6 rows"),
        (2, lambda a: a / 0.0, "negative features: .* not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_arrays_that_do_not_fit_are_named(place, change, message):
    data = list(planted())
    data[place] = change(data[place])

    with pytest.raises(InputError, match=message):
        tune_negatives(*data, SETTINGS, 0)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="batch_size must be at least 1"):
        tune_negatives(*planted(), replace(SETTINGS, batch_size=0), 0)
