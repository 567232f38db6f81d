"""Scores from features: they point the right way, equal straight-line twins, and pytorch-ood."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import peers
from synood import metrics, scores
from synood.benchmark.systems.odin import stepped
from synood.errors import InputError

pytestmark = pytest.mark.numerical

CLASSES, WIDTH = 6, 16
INSIDE = np.random.default_rng(9).random(500) < 0.7
CONFIDENCE = INSIDE + np.random.default_rng(10).normal(size=500)


@pytest.fixture(scope="module")
def planted():
    """Positive features near class directions; OOD features near directions of their own."""
    rng = np.random.default_rng(0)
    centres = rng.gamma(1.0, 1.0, (2 * CLASSES, WIDTH))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)

    def near(which, size):
        rows = 4 * centres[which] + 0.25 * rng.normal(size=(len(which), WIDTH))
        return np.maximum(size * rows, 0).astype(np.float32)

    labels = np.tile(np.arange(CLASSES), 40)
    # the layer knows the classes only: the other directions give small logits
    weight = np.linalg.pinv(centres)[:, :CLASSES].T.astype(np.float32)
    return {
        "labels": labels,
        "train": near(labels, 1.0),
        "test": near(np.tile(np.arange(CLASSES), 20), 1.0),
        "ood": near(np.tile(np.arange(CLASSES, 2 * CLASSES), 20), 1.0),
        "weight": 2 * weight,
        "bias": rng.normal(0, 0.1, CLASSES).astype(np.float32),
        "texts": rng.normal(size=(CLASSES, WIDTH)).astype(np.float32),
    }


def logits_of(planted, features):
    return scores.linear(features, planted["weight"], planted["bias"])


def every_score(planted):
    """Name -> a function from features to scores, fitted to the planted training images."""
    train, labels = planted["train"], planted["labels"]
    weight, bias = planted["weight"], planted["bias"]
    gaussians = scores.Gaussians.fit(train, labels)
    background = scores.Gaussians.fit(train, np.zeros_like(labels))
    means, vim = (
        scores.ClassMeans.fit(train, labels),
        scores.VirtualLogit.fit(train, weight, bias, 5),
    )
    neighbours = scores.Neighbours.fit(train)
    sparse = scores.sparse_weight(train, weight, 0.7)
    limit = float(np.percentile(train, 90))

    def energy(features, rows=weight):
        return scores.energy(scores.linear(features, rows, bias))

    return {
        "msp": lambda x: scores.msp(logits_of(planted, x)),
        "max_log_odds": lambda x: scores.max_log_odds(logits_of(planted, x)),
        "max_logit": lambda x: scores.max_logit(logits_of(planted, x)),
        "energy": energy,
        "energy_5": lambda x: scores.energy(logits_of(planted, x), 5.0),
        "gen": lambda x: scores.gen(logits_of(planted, x), 0.1, 3),
        "gradnorm": lambda x: scores.gradnorm(x, logits_of(planted, x)),
        "react": lambda x: energy(scores.clipped(x, limit)),
        "dice": lambda x: energy(x, sparse),
        "ash-p": lambda x: energy(scores.ash_p(x, 0.65)),
        "ash-b": lambda x: energy(scores.ash_b(x, 0.65)),
        "ash-s": lambda x: energy(scores.ash_s(x, 0.65)),
        "knn": lambda x: neighbours.scores(x, [7])[:, 0],
        "vim": vim.score,
        "mahalanobis": gaussians.score,
        "relative": lambda x: gaussians.score(x, background),
        "cosine": means.cosine,
        "rbf": means.rbf,
        "mcm": lambda x: scores.mcm(scores.cosine_similarity(x, planted["texts"])),
    }


def test_every_score_is_higher_for_in_distribution_images(planted):
    for name, score in every_score(planted).items():
        if name == "mcm":  # its texts are random here; test_similarities.py tests its orientation
            continue
        separation = metrics.auroc(score(planted["test"]), score(planted["ood"]))
        assert separation > 0.9, f"{name}: {separation}"


def test_scores_are_single_precision_one_an_image(planted):
    for name, score in every_score(planted).items():
        found = score(planted["test"])
        assert (name, found.shape, found.dtype) == (name, (120,), np.float32)
        assert score(planted["test"][:0]).shape == (0,) if name != "knn" else True


@pytest.fixture(scope="module")
def found(planted, tmp_path_factory):
    if peers.folder() is None:
        pytest.skip(peers.MISSING)
    given = {
        **planted,
        "logits": logits_of(planted, planted["test"]),
        "confidence": CONFIDENCE,
        "inside": INSIDE,
    }
    return peers.peer_scores(given, tmp_path_factory.mktemp("peers"))


# What pytorch-ood scales otherwise: the layer's gradient alone; a half in the exponent of a
# Gaussian, and covariances that are sums over the 240 training images; the mean of 3.
SCALES = {"mahalanobis": 2 * 240.0, "relative": 240.0, "gen": 3.0}


@pytest.mark.parametrize(
    "name",
    [
        "msp", "max_logit", "energy", "energy_5", "gen", "gradnorm", "react", "dice", "ash-p",
        "ash-b", "ash-s", "knn", "vim", "mahalanobis", "relative", "mcm",
    ],
)  # fmt: skip
def test_equals_pytorch_ood(planted, found, name):
    ours = every_score(planted)[name](planted["test"])
    theirs = -SCALES.get(name, 1.0) * found[name]
    np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-4)


class Layer:
    """The planted layer as a classifier of vectors."""

    def __init__(self, planted):
        self.weight, self.bias = (torch.from_numpy(planted[n]) for n in ("weight", "bias"))

    def logits(self, pixels):
        return pixels @ self.weight.T + self.bias


def test_odin_equals_pytorch_ood(planted, found):
    layer, test = Layer(planted), torch.from_numpy(planted["test"])
    moved = stepped(test, layer, temperature=10.0, step=0.05)
    ours = scores.msp(layer.logits(moved).numpy(), temperature=10.0)
    np.testing.assert_allclose(ours, -found["odin"], rtol=1e-5)


def test_metrics_equal_those_of_pytorch_ood(found):
    ours = metrics.full_metrics(CONFIDENCE[INSIDE], CONFIDENCE[~INSIDE])
    assert ours.metrics.auroc == pytest.approx(float(found["auroc"]), abs=1e-12)
    assert ours.aupr_in_trapezoid == pytest.approx(float(found["aupr_in_trapezoid"]), abs=1e-12)
    assert ours.aupr_out_trapezoid == pytest.approx(float(found["aupr_out_trapezoid"]), abs=1e-12)
    fpr95 = float(found["fpr95_ood_positive"])
    assert ours.metrics.fpr95_ood_positive == pytest.approx(fpr95, abs=1e-12)
    assert metrics.aurc(CONFIDENCE, INSIDE) == pytest.approx(1 - float(found["aurra"]), abs=1e-12)


# Straight-line twins.


def softmax(row):
    powers = np.exp(row - row.max())
    return powers / powers.sum()


def test_gradnorm_is_the_norm_of_the_gradient_that_autograd_finds(planted):
    features = planted["test"][:10]
    found = scores.gradnorm(features, logits_of(planted, features), temperature=2.0)
    for row, score in zip(features, found, strict=True):
        weight = torch.tensor(planted["weight"], requires_grad=True)
        logits = torch.from_numpy(row) @ weight.T + torch.from_numpy(planted["bias"])
        uniform = torch.full((CLASSES,), 1 / CLASSES)
        log_softmax = (logits / 2.0).log_softmax(0)
        torch.nn.functional.kl_div(log_softmax, uniform, reduction="sum").backward()
        assert score == pytest.approx(float(weight.grad.abs().sum()), rel=1e-4)


def test_gen_is_the_entropy_of_the_largest_probabilities(planted):
    logits = logits_of(planted, planted["test"])
    for row, score in zip(logits, scores.gen(logits, 0.3, 2), strict=True):
        p = sorted(softmax(row.astype(float)))[-2:]
        assert score == pytest.approx(-sum(v**0.3 * (1 - v) ** 0.3 for v in p), rel=1e-4)
    sure = scores.gen(np.array([[20.0, 0.0], [25.0, 0.0], [30.0, 0.0]], np.float32))
    assert (np.diff(sure) > 0).all()  # where single precision has three times p = 1
    everything = scores.gen(logits, 0.3, CLASSES)
    assert (scores.gen(logits, 0.3) >= everything).all()  # a tenth of six classes is one


def test_log_odds_are_those_of_the_largest_probability_and_never_saturate(planted):
    logits = logits_of(planted, planted["test"]).astype(float)
    p = np.array([softmax(row).max() for row in logits])
    np.testing.assert_allclose(scores.max_log_odds(logits), np.log(p / (1 - p)), rtol=1e-4)
    sure = scores.max_log_odds(np.array([[40.0, 0.0, 0.0], [90.0, 0.0, 0.0]], np.float32))
    np.testing.assert_allclose(sure, [40 - np.log(2), 90 - np.log(2)], rtol=1e-6)
    tied = scores.max_log_odds(np.array([[3.0, 3.0]]))
    assert tied.tolist() == [0.0]


def test_mahalanobis_is_the_quadratic_form_of_the_shared_covariance(planted):
    train, labels = planted["train"].astype(float), planted["labels"]
    means = np.array([train[labels == c].mean(axis=0) for c in range(CLASSES)])
    shared = sum(np.outer(x - means[c], x - means[c]) for x, c in zip(train, labels, strict=True))
    inverse = np.linalg.inv(shared / len(train))
    background = np.linalg.inv(np.cov(train.T, bias=True))
    fitted = scores.Gaussians.fit(train, labels)
    whole = scores.Gaussians.fit(train, np.zeros_like(labels))
    plain, relative = fitted.score(planted["test"]), fitted.score(planted["test"], whole)
    for x, score, rel in zip(planted["test"].astype(float), plain, relative, strict=True):
        nearest = min((x - m) @ inverse @ (x - m) for m in means)
        common = (x - train.mean(axis=0)) @ background @ (x - train.mean(axis=0))
        assert score == pytest.approx(-nearest, rel=1e-5)
        assert rel == pytest.approx(common - nearest, rel=1e-4, abs=1e-4)


def test_nearest_neighbours_equal_a_full_sort(planted):
    def unit(rows):
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    train, test = unit(planted["train"].astype(float)), unit(planted["test"].astype(float))
    distances = np.sort(np.linalg.norm(test[:, None] - train, axis=2), axis=1)
    found = scores.Neighbours.fit(planted["train"]).scores(planted["test"], [1, 5, 240])
    np.testing.assert_allclose(found, -distances[:, [0, 4, 239]], atol=1e-3)


@pytest.mark.parametrize("limit", [7, 50, 10_000])
def test_nearest_cosines_equal_scikit_learns_however_many_images_are_compared(
    planted, monkeypatch, limit
):
    from sklearn.neighbors import NearestNeighbors

    monkeypatch.setattr("synood.scores._features.TRAINING_ROWS", limit)
    model = NearestNeighbors(n_neighbors=20, metric="cosine").fit(planted["train"].astype(float))
    expected = 1.0 - model.kneighbors(planted["test"].astype(float))[0]
    fitted = scores.Neighbours.fit(planted["train"])
    found = fitted.cosines(planted["test"], [1, 3, 20])
    np.testing.assert_allclose(found, expected[:, [0, 2, 19]], atol=1e-6)
    np.testing.assert_array_equal(fitted.cosine(planted["test"], 3), found[:, 1])
    assert fitted.cosine(planted["train"]).min() > 1 - 1e-6  # each finds itself


def test_class_means_by_angle_and_by_distance(planted):
    train, labels = planted["train"].astype(float), planted["labels"]
    means = np.array([train[labels == c].mean(axis=0) for c in range(CLASSES)])
    spread = np.mean([((x - means[c]) ** 2).sum() for x, c in zip(train, labels, strict=True)])
    fitted = scores.ClassMeans.fit(train, labels)
    for x, cosine, rbf in zip(
        planted["test"], fitted.cosine(planted["test"]), fitted.rbf(planted["test"]), strict=True
    ):
        angles = [x @ m / np.linalg.norm(x) / np.linalg.norm(m) for m in means]
        assert cosine == pytest.approx(max(angles), abs=1e-5)
        nearest = min(((x - m) ** 2).sum() for m in means)
        assert rbf == pytest.approx(math.exp(-nearest / (2 * spread)), rel=1e-4)


def test_vim_is_the_energy_less_the_scaled_residual(planted):
    train, weight = planted["train"].astype(float), planted["weight"].astype(float)
    origin = -np.linalg.pinv(weight) @ planted["bias"]
    _, _, directions = np.linalg.svd(train - origin)  # another way to the same space
    rest = directions[5:].T

    def residual(x):
        return np.linalg.norm((x - origin) @ rest, axis=1)

    logits = train @ weight.T + planted["bias"]
    alpha = logits.max(axis=1).mean() / residual(train).mean()
    outputs = planted["test"] @ weight.T + planted["bias"]
    expected = np.log(np.exp(outputs).sum(axis=1)) - alpha * residual(planted["test"])
    fitted = scores.VirtualLogit.fit(train, weight, planted["bias"], 5)
    np.testing.assert_allclose(fitted.score(planted["test"]), expected, rtol=1e-4, atol=1e-4)


def test_local_matching_adds_the_best_place():
    rng = np.random.default_rng(1)
    whole, places = rng.uniform(0, 0.4, (5, 4)), rng.uniform(0, 0.4, (5, 3, 4))
    found = scores.gl_mcm(whole, places, temperature=0.1, weight=0.5)
    for i in range(5):
        local = max(max(softmax(row / 0.1)) for row in places[i])
        assert found[i] == pytest.approx(max(softmax(whole[i] / 0.1)) + 0.5 * local, rel=1e-5)


def test_an_envisioned_outlier_lowers_the_score():
    rng = np.random.default_rng(2)
    classes, outliers = rng.uniform(0, 0.4, (5, 4)), rng.uniform(0, 0.4, (5, 7))
    found = scores.eoe(classes, outliers)
    for i in range(5):
        p = softmax(np.concatenate([classes[i], outliers[i]]))
        assert found[i] == pytest.approx(p[:4].max() - 0.25 * p[4:].max(), rel=1e-5)


# Invariances.

seeds = st.integers(0, 2**32 - 1)


def positive(seed, n=12):
    return np.random.default_rng(seed).gamma(1.0, 1.0, (n, WIDTH)).astype(np.float32)


@settings(max_examples=40)
@given(seeds, st.floats(0.01, 100))
def test_scores_of_directions_ignore_length(seed, factor):
    train, test = positive(seed, 30), positive(seed + 1)
    labels = np.arange(30) % 3
    for one in (
        lambda x: scores.Neighbours.fit(train).scores(x, [2])[:, 0],
        scores.ClassMeans.fit(train, labels).cosine,
    ):
        np.testing.assert_allclose(one(np.float32(factor) * test), one(test), atol=1e-4)


@settings(max_examples=40)
@given(seeds)
def test_mahalanobis_ignores_a_linear_map_of_the_features(seed):
    rng = np.random.default_rng(seed)
    train, test = rng.normal(size=(60, 5)), rng.normal(size=(7, 5))
    labels = np.arange(60) % 3
    mixing = np.linalg.qr(rng.normal(size=(5, 5)))[0] * rng.uniform(0.5, 2, 5)
    shift = rng.normal(size=5)
    here = scores.Gaussians.fit(train, labels).score(test)
    there = scores.Gaussians.fit(train @ mixing + shift, labels).score(test @ mixing + shift)
    np.testing.assert_allclose(there, here, rtol=1e-3, atol=1e-3)


@settings(max_examples=40)
@given(seeds, st.floats(-50, 50))
def test_scores_of_probabilities_ignore_a_shift_of_all_logits(seed, shift):
    logits, features = np.random.default_rng(seed).normal(size=(8, 9)), positive(seed, 8)
    for score in (scores.msp, scores.gen, lambda x: scores.gradnorm(features, x)):
        np.testing.assert_allclose(score(logits + shift), score(logits), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        scores.energy(logits + shift), scores.energy(logits) + shift, rtol=1e-4, atol=1e-4
    )


@given(seeds, st.sampled_from([0.0, 0.3, 0.65, 0.9, 0.99]))
def test_ash_keeps_the_largest_activations_and_its_sums(seed, share):
    features = positive(seed)
    left = max(1, WIDTH - round(WIDTH * share))
    pruned = scores.ash_p(features, share)
    assert ((pruned > 0).sum(axis=1) == left).all()
    assert (np.sort(pruned, axis=1)[:, -left:] == np.sort(features, axis=1)[:, -left:]).all()
    np.testing.assert_allclose(scores.ash_b(features, share).sum(1), features.sum(1), rtol=1e-4)
    ratio = np.exp(features.sum(axis=1) / pruned.sum(axis=1))
    np.testing.assert_allclose(scores.ash_s(features, share), pruned * ratio[:, None], rtol=1e-4)


def test_features_are_left_as_they_are(planted):
    before = planted["test"].copy()
    for score in every_score(planted).values():
        score(planted["test"])
    assert (planted["test"] == before).all()


@pytest.mark.parametrize("offset", [0.0, 10.0])
def test_features_that_hang_together_give_the_distance_of_those_they_hang_on(offset):
    rng = np.random.default_rng(6)
    base, labels = rng.normal(size=(60, 3)), np.arange(60) % 2
    mixing = rng.normal(size=(3, 20))
    mixed = (base @ mixing + offset).astype(np.float32)  # 17 directions of rounding alone
    expected = scores.Gaussians.fit(base, labels).score(base[:9])
    fitted = scores.Gaussians.fit(mixed, labels)
    np.testing.assert_allclose(fitted.score(mixed[:9]), expected, rtol=1e-2)
    np.testing.assert_allclose(fitted.score(mixed[4:5]), fitted.score(mixed[:9])[4:5], rtol=1e-5)


def test_where_training_images_never_vary_a_difference_counts():
    rng = np.random.default_rng(5)
    rows = np.c_[rng.normal(size=(40, 3)), np.ones(40)]  # the last feature never varies
    flat = scores.Gaussians.fit(rows[:, :3], np.zeros(40)).score(rows[:5, :3])
    fitted = scores.Gaussians.fit(rows, np.zeros(40))
    np.testing.assert_allclose(fitted.score(rows[:5]), flat, rtol=1e-5)
    assert (fitted.score(rows[:5] + np.array([0, 0, 0, 0.01])) < flat.min() - 100).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: scores.gen(x, gamma=1.0), "gamma: 1.0 is not in"),
        (lambda x: scores.gen(x, top=17), "top: 17 is not between 1 and the 16 classes"),
        (lambda x: scores.max_log_odds(x[:, :1]), "logits: one class has probability 1"),
        (lambda x: scores.ash_p(x, 1.0), "share: 1.0 is not in"),
        (lambda x: scores.sparse_weight(x, x, -0.1), "sparsity: -0.1 is not in"),
        (lambda x: scores.sparse_weight(x, x[:, :3], 0.5), "features: 16 columns"),
        (lambda x: scores.gradnorm(x, x[:2]), "logits: 2 rows for 4 of features"),
        (lambda x: scores.Neighbours.fit(x).scores(x, [5]), "k: 5 is not between 1 and the 4"),
        (lambda x: scores.Gaussians.fit(x, [1, 2]), r"labels: shape \(2,\) for 4 images"),
        (lambda x: scores.ClassMeans.fit(x[:0], []), "no training image"),
        (lambda x: scores.ClassMeans.fit(x, range(4)).rbf(x), "every training image lies on"),
        (
            lambda x: scores.VirtualLogit.fit(x, x, np.ones(4), 16),
            r"principal: 16 is not in \[0, 16\)",
        ),
        (lambda x: scores.gl_mcm(x, x), "patch_similarity: shape"),
        (lambda x: scores.gl_mcm(x, x[:2, None]), "patch_similarity: 2 images"),
        (lambda x: scores.eoe(x, x[:2]), "outlier_similarity: 2 rows"),
    ],
)
def test_unusable_input_is_refused_in_a_sentence(call, words):
    with pytest.raises(InputError, match=words):
        call(positive(3, 4))
