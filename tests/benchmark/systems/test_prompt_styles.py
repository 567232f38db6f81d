"""NegPrompt-, ID-like-, Local-Prompt- and LAPT-style: straight-line twins of losses and scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from planted import CLASSES, DIM, OTHERS, around, planted_inputs
from synood import scores
from synood.benchmark.systems import lapt, localprompt
from synood.benchmark.systems._places import sorted_places
from synood.benchmark.systems._training import Losses
from synood.benchmark.systems.idlike import idlike_loss
from synood.benchmark.systems.localprompt import local_score, localprompt_loss
from synood.benchmark.systems.negprompt import negprompt_loss, negprompt_score
from synood.errors import InputError

pytestmark = pytest.mark.numerical


def unit(*shape, seed=0):
    rows = np.random.default_rng(seed).normal(size=shape)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def softmax(row):
    powers = np.exp(row - row.max())
    return powers / powers.sum()


def torches(*arrays):
    return [torch.from_numpy(np.asarray(array)) for array in arrays]


def test_negprompt_is_what_its_formulas_say():
    images, classes, negatives = unit(5, 6), unit(3, 6, seed=1), unit(2, 3, 6, seed=2)
    labels = np.array([0, 1, 2, 1, 0])
    every = np.concatenate([classes, negatives[0], negatives[1]])
    expected = []
    for x, label in zip(images, labels, strict=True):
        expected.append(-np.log(softmax(4.0 * every @ x)[label]))
    near = np.mean([negatives[s, c] @ classes[c] for s in range(2) for c in range(3)])
    apart = np.mean([negatives[0, c] @ negatives[1, c] for c in range(3)])
    loss = negprompt_loss(*torches(images, labels, classes, negatives), 4.0)
    assert float(loss) == pytest.approx(np.mean(expected) - 0.1 * near + 0.05 * apart)
    found = negprompt_score(images.astype("f4"), classes.astype("f4"), negatives, 0.2)
    for x, score in zip(images, found, strict=True):
        p = softmax(every @ x / 0.2)
        assert score == pytest.approx(np.log(p[:3].max()), abs=1e-4)


def test_id_like_is_what_its_formulas_say():
    near, far = unit(4, 2, 6), unit(4, 2, 6, seed=1)
    names, outliers, labels = unit(3, 6, seed=2), unit(5, 6, seed=3), np.array([0, 2, 1, 0])
    texts = np.concatenate([names, outliers])
    right = [
        -np.log(softmax(4.0 * texts @ near[i, k])[labels[i]]) for i in range(4) for k in range(2)
    ]
    beyond = [
        -np.log(softmax(4.0 * texts @ far[i, k])[3:].sum()) for i in range(4) for k in range(2)
    ]
    apart = [(outliers[i] @ outliers[j]) ** 2 for i in range(5) for j in range(5) if i != j]
    loss = idlike_loss(*torches(near, far, labels, names, outliers), 4.0)
    expected = np.mean(right) + np.mean(beyond) + 0.1 * np.mean(apart)
    assert float(loss) == pytest.approx(expected)


def test_local_prompt_is_what_its_formulas_say(monkeypatch):
    near, far = unit(4, 2, 6), unit(4, 2, 6, seed=1)
    names, negatives, labels = unit(3, 6, seed=2), unit(5, 6, seed=3), np.array([0, 2, 1, 0])
    texts = np.concatenate([names, negatives])
    right, beyond = [], []
    for i in range(4):
        inside, outside = (np.exp(4.0 * places[i] @ texts.T) for places in (near, far))
        right.append(-np.log(inside[:, labels[i]].sum() / inside.sum()))
        beyond.append(-np.log(outside[:, 3:].sum() / outside.sum()))
    apart = [negatives[i] @ negatives[j] for i in range(5) for j in range(5) if i != j]
    loss = localprompt_loss(*torches(near, far, labels, names, negatives), 4.0)
    expected = np.mean(right) + 5 * np.mean(beyond) + 0.5 * np.mean(apart)
    assert float(loss) == pytest.approx(expected)
    monkeypatch.setattr(localprompt, "TOP", 3)
    places = unit(7, 4, 6, seed=4).astype("f4")
    found = local_score(places, names.astype("f4"), negatives.astype("f4"), 0.5)
    for image, score in zip(places, found, strict=True):
        shares = np.array([softmax(texts @ place / 0.5)[:3] for place in image]).ravel()
        assert score == pytest.approx(np.sort(shares)[-3:].mean(), rel=1e-5)


def test_places_are_sorted_by_their_cosine_with_the_class():
    inputs = planted_inputs()
    places = sorted_places(inputs, 0)
    assert places.near.shape == places.far.shape == (48, 1, DIM)
    names = inputs.class_features[places.labels]
    nearer, farther = (np.einsum("nkd,nd->nk", part, names) for part in (places.near, places.far))
    assert (nearer >= farther).all()
    assert nearer.min() > 0.8  # one of two places is like the whole image


def test_lapt_moves_names_towards_images_and_away_from_images_of_others(monkeypatch):
    monkeypatch.setattr(lapt, "MIXING", 1e-3)  # one image or the other: mixtures pull both ways
    inputs = planted_inputs(validation_ood=())
    shift = (
        0.8 * np.eye(DIM)[-1]
    )  # images have what no name has, and those of negatives the reverse
    inputs.train.features[:] += shift.astype("f4")
    outliers = scores.normalise(around(OTHERS, 10, 4) - shift)
    classes, negatives = np.eye(DIM)[:3].astype("f4"), np.eye(DIM)[3:9].astype("f4")
    losses = Losses()
    names, others = lapt.tuned_names(inputs, classes, negatives, outliers, 0, losses)
    assert losses.to_json()["last"] < losses.to_json()["first"]
    assert (names[:, -1] > 0.05).all()
    assert (others[:, -1] < -0.05).all()
    assert (names.argmax(axis=1) == np.arange(len(CLASSES))).all()
    with pytest.raises(InputError, match="LAPT: there are no images of negative labels"):
        lapt.tuned_names(inputs, classes, negatives, outliers[:0], 0, losses)
