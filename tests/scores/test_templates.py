"""Scores from a classifier's training outputs: straight-line twins, pytorch-ood, invariances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy, weibull_min

import peers
from synood import metrics, scores
from synood.errors import InputError
from synood.models.feature_maps import without_first_rank

pytestmark = pytest.mark.numerical

CLASSES, WIDTH = 5, 14


def made(seed=0):
    """A layer that knows its classes, training features with some named wrongly, test and OOD."""
    rng = np.random.default_rng(seed)
    centres = rng.gamma(1.0, 1.0, (2 * CLASSES, WIDTH))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    labels = np.tile(np.arange(CLASSES), 40)

    def near(which):
        rows = 4 * centres[which] + 0.25 * rng.normal(size=(len(which), WIDTH))
        return np.maximum(rows, 0).astype(np.float32)

    found = {
        "weight": 2 * np.linalg.pinv(centres)[:, :CLASSES].T.astype(np.float32),
        "bias": rng.normal(0, 0.1, CLASSES).astype(np.float32),
        "labels": labels,
        "train": near(labels),
        "test": near(np.tile(np.arange(CLASSES), 12)),
        "ood": near(np.tile(np.arange(CLASSES, 2 * CLASSES), 12)),
        "maps": rng.gamma(1.0, 1.0, (6, WIDTH, 3, 4)).astype(np.float32),
    }
    labels[:3] = (labels[:3] + 1) % CLASSES
    return found


DATA = made()


def linear(features, data=DATA):
    return scores.linear(features, data["weight"], data["bias"])


def every(data=DATA):
    """Name -> score of features, fitted to the training features."""
    train, labels, layer = data["train"], data["labels"], (data["weight"], data["bias"])
    logits = linear(train, data)
    she = scores.StoredPatterns.fit(train, logits, labels)
    matching = scores.PosteriorTemplates.fit(logits)
    fdbd = scores.DecisionBoundaries.fit(train, *layer)
    guided = scores.GuidedNeighbours.fit(train, logits)
    openmax = scores.OpenMax.fit(logits, labels)
    return {
        "she": lambda x: she.score(x, linear(x, data)),
        "kl-matching": lambda x: matching.score(linear(x, data)),
        "fdbd": fdbd.score,
        "nnguide": lambda x: guided.scores(x, linear(x, data), [7])[:, 0],
        "openmax": lambda x: openmax.score(linear(x, data)),
        "scale": lambda x: scores.energy(linear(scores.scale(x), data)),
    }


@pytest.mark.parametrize("name", list(every()))
def test_in_distribution_images_score_higher(name):
    score = every()[name]
    inside = score(DATA["test"])
    assert (inside.shape, inside.dtype) == ((60,), np.float32)
    # OpenMax moves whole logits of images beyond a tail, so it needs logits larger than these
    least = 0.6 if name == "openmax" else 0.8
    assert metrics.auroc(inside, score(DATA["ood"])) > least


@pytest.mark.parametrize("name", list(every()))
def test_an_image_scores_the_same_in_any_company(name):
    score = every()[name]
    rows = [3, 50, 7]
    np.testing.assert_allclose(score(DATA["test"][rows]), score(DATA["test"])[rows], rtol=1e-5)
    assert score(DATA["test"][:0]).shape == (0,)


# Straight-line twins.


def softmax(row):
    powers = np.exp(row - row.max())
    return powers / powers.sum()


def test_she_is_the_product_with_the_mean_of_rightly_named_images():
    train, labels, test = DATA["train"].astype(float), DATA["labels"], DATA["test"]
    right = linear(DATA["train"]).argmax(1) == labels
    assert 0 < (~right).sum() < 40
    for x, score in zip(test, every()["she"](test), strict=True):
        label = linear(x[None])[0].argmax()
        pattern = train[right & (labels == label)].sum(axis=0) / (right & (labels == label)).sum()
        assert score == pytest.approx(x @ pattern, rel=1e-5)


def test_kl_matching_is_the_least_divergence_from_a_mean_posterior():
    posteriors = np.array([softmax(row) for row in linear(DATA["train"]).astype(float)])
    templates = [posteriors[posteriors.argmax(1) == label].mean(axis=0) for label in range(CLASSES)]
    for x, score in zip(DATA["test"], every()["kl-matching"](DATA["test"]), strict=True):
        p = softmax(linear(x[None])[0].astype(float))
        assert score == pytest.approx(-min(entropy(p, q) for q in templates), rel=1e-4, abs=1e-6)


def test_a_class_that_is_never_predicted_is_matched_by_certainty_alone():
    logits = np.array([[2.0, 0.0, -1.0], [0.0, 2.0, -1.0]])
    fitted = scores.PosteriorTemplates.fit(logits)
    assert fitted.log_templates[2].tolist() == [-np.inf, -np.inf, 0.0]
    assert np.isfinite(fitted.score([[0.0, 0.0, 5.0]])).all()
    assert fitted.score(logits) == pytest.approx(0.0, abs=1e-6)


def test_fdbd_is_the_mean_distance_to_the_boundaries():
    """The distance of z to the hyperplane on which two logits are equal, by its normal form."""
    weight, bias = DATA["weight"].astype(float), DATA["bias"].astype(float)
    middle = DATA["train"].astype(float).mean(axis=0)
    fitted = scores.DecisionBoundaries.fit(DATA["train"], weight, bias)
    for centred, origin in ((True, middle), (False, 0.0)):
        found = fitted.score(DATA["test"], centred)
        for z, score in zip(DATA["test"].astype(float), found, strict=True):
            own = (weight @ z + bias).argmax()
            distances = []
            for other in set(range(CLASSES)) - {own}:
                normal, offset = weight[own] - weight[other], bias[own] - bias[other]
                foot = z - (normal @ z + offset) / (normal @ normal) * normal
                assert normal @ foot + offset == pytest.approx(0, abs=1e-9)
                distances.append(np.linalg.norm(z - foot))
            expected = np.mean(distances) / np.linalg.norm(z - origin)
            assert score == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_nnguide_is_the_energy_times_the_mean_of_the_most_guiding_images():
    train = DATA["train"].astype(float)
    energies = np.log(np.exp(linear(DATA["train"]).astype(float)).sum(axis=1))
    bank = energies[:, None] * train / np.linalg.norm(train, axis=1, keepdims=True)
    fitted = scores.GuidedNeighbours.fit(DATA["train"], linear(DATA["train"]))
    found = fitted.scores(DATA["test"], linear(DATA["test"]), [1, 7, 200])
    for x, row in zip(DATA["test"].astype(float), found, strict=True):
        energy = np.log(np.exp(linear(x[None])[0].astype(float)).sum())
        alike = np.sort(bank @ (x / np.linalg.norm(x)))[::-1]
        expected = [energy * alike[:k].mean() for k in (1, 7, 200)]
        assert row == pytest.approx(expected, rel=1e-4)


def test_openmax_moves_logits_to_an_unknown_class():
    logits, labels = linear(DATA["train"]).astype(float), DATA["labels"]
    fits = []
    for label in range(CLASSES):
        own = logits[(labels == label) & (logits.argmax(1) == label)]
        tail = np.sort(np.linalg.norm(own - own.mean(0), axis=1))[-20:]
        shape, _, scale = weibull_min.fit(tail - tail[0] + 10_000, floc=0)
        fits.append((own.mean(0), tail[0], shape, scale))
    for x, score in zip(DATA["test"], every()["openmax"](DATA["test"]), strict=True):
        v = linear(x[None])[0].astype(float)
        unknown, known = 0.0, v.copy()
        for rank, label in enumerate(np.argsort(-v)[:3]):
            mean, least, shape, scale = fits[label]
            distance = np.linalg.norm(v - mean) - least + 10_000
            share = weibull_min.cdf(distance, shape, scale=scale)
            part = v[label] * share * (3 - rank) / 3
            known[label], unknown = v[label] - part, unknown + part
        p = softmax(np.append(known, unknown))[-1]
        assert score == pytest.approx(-np.log(p), rel=2e-3, abs=2e-3)


def test_openmax_of_one_image_a_class_is_a_step():
    logits = np.eye(3) * 5
    fitted = scores.OpenMax.fit(logits, [0, 1, 2])
    near, far = fitted.score([[5.0, 0.0, 0.0], [5.0, 3.0, 0.0]])
    assert near > far


def test_scale_multiplies_by_the_exponential_of_a_ratio():
    features = DATA["test"]
    kept = WIDTH - round(WIDTH * 0.65)
    for row, scaled in zip(features, scores.scale(features, 0.65), strict=True):
        ratio = row.sum() / np.sort(row)[-kept:].sum()
        assert scaled == pytest.approx(row * np.exp(ratio), rel=1e-5)


def test_maps_without_their_first_rank_are_the_rest_of_the_decomposition():
    maps = torch.from_numpy(DATA["maps"])
    found = without_first_rank(maps)
    for one, left in zip(maps.flatten(2).numpy(), found.flatten(2).numpy(), strict=True):
        u, s, v = np.linalg.svd(one.astype(float), full_matrices=False)
        np.testing.assert_allclose(left, (u[:, 1:] * s[1:]) @ v[1:], atol=1e-5)


# pytorch-ood, in a process of its own.


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    if peers.folder() is None:
        pytest.skip(peers.MISSING)
    texts = np.random.default_rng(3).normal(size=(CLASSES, WIDTH)).astype(np.float32)
    more = {
        "logits": linear(DATA["test"]),
        "texts": texts,
        "confidence": np.arange(9.0),
        "inside": np.arange(9) > 4,
    }
    return peers.peer_scores({**DATA, **more}, tmp_path_factory.mktemp("peers"))


@pytest.mark.parametrize("name", ["she", "kl-matching", "fdbd", "nnguide", "scale"])
def test_equals_pytorch_ood(found, name):
    np.testing.assert_allclose(every()[name](DATA["test"]), -found[name], rtol=1e-4, atol=1e-5)


def test_openmax_equals_pytorch_ood(found):
    """Its Weibull parameters come from a search in the plane that stops early."""
    ours = np.exp(-every()["openmax"](DATA["test"]))
    np.testing.assert_allclose(ours, found["openmax"], atol=5e-3)


def test_rankfeat_of_one_stage_equals_pytorch_ood(found):
    left = without_first_rank(torch.from_numpy(DATA["maps"])).mean((2, 3)).numpy()
    np.testing.assert_allclose(scores.energy(linear(left)), -found["rankfeat"], rtol=1e-4)


# Invariances and refusals.

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=25)
@given(seeds, st.floats(-20, 20))
def test_kl_matching_ignores_a_shift_of_all_logits(seed, shift):
    logits = np.random.default_rng(seed).normal(size=(20, 4))
    here = scores.PosteriorTemplates.fit(logits).score(logits[:5])
    there = scores.PosteriorTemplates.fit(logits + shift).score(logits[:5] + shift)
    np.testing.assert_allclose(there, here, atol=1e-5)


@settings(max_examples=25)
@given(seeds, st.floats(0.01, 100))
def test_fdbd_ignores_the_size_of_the_layer_and_nnguide_that_of_the_features(seed, factor):
    data = made(seed)
    weight, bias, test = data["weight"], data["bias"], data["test"]
    here = scores.DecisionBoundaries.fit(data["train"], weight, bias).score(test)
    there = scores.DecisionBoundaries.fit(
        data["train"], np.float32(factor) * weight, np.float32(factor) * bias
    )
    np.testing.assert_allclose(there.score(test), here, rtol=1e-3, atol=1e-4)
    logits = linear(data["train"], data)
    guided = scores.GuidedNeighbours.fit(data["train"], logits)
    scaled = scores.GuidedNeighbours.fit(np.float32(factor) * data["train"], logits)
    outputs = linear(test, data)
    np.testing.assert_allclose(
        scaled.scores(test, outputs, [3]), guided.scores(test, outputs, [3]), rtol=1e-3, atol=1e-3
    )


def test_what_cannot_be_fitted_is_named():
    train, logits, labels = DATA["train"], linear(DATA["train"]), DATA["labels"]
    with pytest.raises(InputError, match="class 4 has no training image to take as pattern"):
        scores.StoredPatterns.fit(train, logits, np.minimum(labels, 3))
    with pytest.raises(InputError, match="class 4 has no training image to measure from"):
        scores.OpenMax.fit(logits, np.minimum(labels, 3))
    with pytest.raises(InputError, match="fDBD needs two classes or more"):
        scores.DecisionBoundaries.fit(train, DATA["weight"][:1], DATA["bias"][:1])
    with pytest.raises(InputError, match="k: 500 is not between 1 and the 200 stored images"):
        scores.GuidedNeighbours.fit(train, logits).scores(train, logits, [500])
    with pytest.raises(InputError, match=r"labels: shape \(3,\) for 200 images"):
        scores.OpenMax.fit(logits, labels[:3])
    with pytest.raises(InputError, match="logits: 3 rows for 200 of features"):
        scores.GuidedNeighbours.fit(train, logits[:3])
    for wrong in ({"tail": 0},):
        with pytest.raises(InputError, match="tail: 0 is below 1"):
            scores.OpenMax.fit(logits, labels, **wrong)
    with pytest.raises(InputError, match="revised: 0 is below 1"):
        scores.OpenMax.fit(logits, labels).score(logits, 0)


def test_a_class_named_wrongly_throughout_keeps_its_own_images():
    train, logits = DATA["train"], linear(DATA["train"]).copy()
    labels = DATA["labels"]
    logits[labels == 2, 2] = -9
    fitted = scores.StoredPatterns.fit(train, logits, labels)
    np.testing.assert_allclose(fitted.patterns[2], train[labels == 2].mean(0), rtol=1e-5)
    assert np.isfinite(scores.OpenMax.fit(logits, labels).score(logits)).all()
