"""Trained systems on planted features: which way they point, what their losses are, same bytes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from planted import CLASSES, encoded, planted_inputs
from small_suite import tiny_bundle, write_small_suite
from synood.benchmark.protocol import scoring
from synood.benchmark.suites.suite import read_suite
from synood.benchmark.systems import find_system, npos, vos
from synood.benchmark.systems._contexts import cross_entropy
from synood.benchmark.systems._heads import EnergyHead, energy_loss
from synood.benchmark.systems._training import few_shots
from synood.benchmark.systems.clipn import clipn_loss, clipn_score
from synood.benchmark.systems.cocoop import MetaNet
from synood.benchmark.systems.locoop import entropy_elsewhere
from synood.benchmark.systems.lsn import lsn_loss, lsn_score
from synood.errors import InputError
from synood.features.store import FeatureStore
from synood.models.bundles import load_bundle
from synood.models.loaded import Models
from synood.pipeline.recipe import resolve_recipe
from synood.progress import no_progress

pytestmark = pytest.mark.numerical

TRAINED = (
    *("coop", "cocoop", "locoop-style", "lsn", "clipn", "vos", "npos"),
    *("contrastive", "hvcm", "tagood", "negprompt", "id-like", "local-prompt"),
)


@pytest.fixture(scope="module")
def inputs():
    return planted_inputs()


@pytest.fixture(scope="module")
def fitted(inputs):
    return {name: find_system(name).fit(inputs, 0) for name in TRAINED}


@pytest.fixture(scope="module")
def test_set():
    return encoded("test", "id", CLASSES, 8, 10)


@pytest.mark.parametrize("name", TRAINED)
def test_training_lowers_the_loss_and_the_record_can_be_written(fitted, name):
    chosen = json.loads(json.dumps(fitted[name].chosen))
    assert chosen["loss"]["last"] < chosen["loss"]["first"]
    assert fitted[name].added_parameters > 0


@pytest.mark.parametrize("name", TRAINED)
def test_training_images_without_labels_are_refused(inputs, name):
    bare = replace(inputs, train=replace(inputs.train, labels=None))
    with pytest.raises(InputError, match="set 'train': has no class labels to learn from"):
        find_system(name).fit(bare, 0)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("coop", {"temperature": 1.0}),
        ("cocoop", {"temperature": 1.0}),
        ("locoop-style", {"temperature": 1.0, "score": "GL-MCM"}),
        ("lsn", {"temperature": 0.01}),
        ("clipn", {"temperature": 0.01, "decision": "agreeing to differ"}),
        ("vos", {"length": 10.0}),
        ("npos", {"spread": 0.1}),
    ],
)
def test_without_validation_ood_the_published_setting_is_kept(inputs, fitted, name, published):
    blind = find_system(name).fit(replace(inputs, validation_ood=()), 0).chosen
    assert {key: blind[key] for key in published} == published
    assert "tried" not in blind
    tried = fitted[name].chosen["tried"]
    assert {key: tried[0][key] for key in published} == published
    assert fitted[name].chosen["auroc"] == max(trial["auroc"] for trial in tried)


def unit_rows(*shape, seed=0):
    rows = np.random.default_rng(seed).normal(size=shape)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def softmax(row):
    powers = np.exp(row - row.max())
    return powers / powers.sum()


def as_torch(*arrays):
    return (torch.from_numpy(np.asarray(array)) for array in arrays)


def test_lsn_is_what_its_formulas_say():
    images, negatives, classes = (
        unit_rows(5, 6),
        unit_rows(3, 4, 6, seed=1),
        unit_rows(4, 6, seed=2),
    )
    labels = np.array([0, 3, 1, 1, 2])
    wrong = []
    for negative in negatives:
        for image, label in zip(images, labels, strict=True):
            p = softmax(10 * negative @ image)
            wrong.append(-sum(np.log(p[c]) for c in range(4) if c != label) / 3)
    overlap = [
        (negatives[a, c] @ negatives[b, c]) ** 2
        for c in range(4)
        for a in range(3)
        for b in range(3)
        if a != b
    ]
    loss = lsn_loss(*as_torch(images, labels, negatives), 10.0)
    assert float(loss) == pytest.approx(np.mean(wrong) + 0.1 * np.mean(overlap), rel=1e-5)

    expected = [
        max(softmax(classes @ image / 0.1) - softmax((negatives @ image).mean(0) / 0.1))
        for image in images
    ]
    found = lsn_score(images.astype("f4"), classes.astype("f4"), negatives.astype("f4"), 0.1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_clipn_is_what_its_formulas_say():
    images, classes, no_features = unit_rows(5, 6), unit_rows(4, 6, seed=1), unit_rows(4, 6, seed=2)
    labels = np.array([0, 3, 1, 1, 2])
    terms = []
    for image, label in zip(images, labels, strict=True):
        for c in range(4):
            no = softmax(10 * np.array([classes[c] @ image, no_features[c] @ image]))[1]
            terms.append(-np.log(1 - no if c == label else no))
    opposite = [2 - np.linalg.norm(classes[c] - no_features[c]) for c in range(4)]
    loss = clipn_loss(*as_torch(images, labels, classes, no_features), 10.0)
    assert float(loss) == pytest.approx(np.mean(terms) + np.mean(opposite), rel=1e-5)

    for agree in (True, False):
        expected = []
        for image in images:
            yes = [
                softmax(np.array([t @ image, n @ image]) / 0.1)[0]
                for t, n in zip(classes, no_features, strict=True)
            ]
            p = softmax(classes @ image / 0.1)
            expected.append(p @ yes if agree else yes[p.argmax()])
        single = (array.astype("f4") for array in (images, classes, no_features))
        np.testing.assert_allclose(clipn_score(*single, 0.1, agree), expected, atol=1e-5)


def test_coop_and_locoop_are_what_their_formulas_say(inputs):
    images, names, local = unit_rows(5, 6), unit_rows(3, 6, seed=1), unit_rows(5, 4, 6, seed=2)
    labels = np.array([0, 2, 1, 1, 2])
    loss = cross_entropy(inputs, images, labels)(torch.from_numpy(names))
    expected = [
        -np.log(softmax(10 * names @ image)[label])
        for image, label in zip(images, labels, strict=True)
    ]
    assert float(loss) == pytest.approx(np.mean(expected), rel=1e-5)

    entropies = []
    for places, label in zip(local, labels, strict=True):
        for place in places:
            p = softmax(10 * names @ place)
            if p.argmax() != label:  # a fifth of three classes is one
                entropies.append(-(p * np.log(p + 1e-5)).sum())
    assert 5 < len(entropies) < 20
    found = entropy_elsewhere(inputs, local, labels)(torch.from_numpy(names))
    assert float(found) == pytest.approx(np.mean(entropies), rel=1e-5)

    everywhere = np.repeat(names[labels][:, None], 2, axis=1)
    assert float(entropy_elsewhere(inputs, everywhere, labels)(torch.from_numpy(names))) == 0


def test_cocoop_compares_an_image_with_the_names_it_moves():
    rng = np.random.default_rng(0)
    names, images = unit_rows(3, 6, seed=1).astype("f4"), unit_rows(5, 6).astype("f4")
    layers = [rng.normal(size=shape).astype("f4") for shape in ((2, 6), (2,), (6, 2), (6,))]
    expected = []
    for image in images:
        moved = names + layers[2] @ np.maximum(layers[0] @ image + layers[1], 0) + layers[3]
        expected.append(moved @ image / np.linalg.norm(moved, axis=1))
    found = MetaNet(names, tuple(layers)).cosines(3 * images)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_few_shots_are_as_many_of_each_class(inputs, monkeypatch):
    monkeypatch.setattr("synood.benchmark.systems._training.SHOTS", 5)
    features, labels, shots = few_shots(inputs.train, 0)
    assert np.bincount(labels).tolist() == [5, 5, 5]
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)
    other, _, _ = few_shots(inputs.train, 1)
    assert not np.array_equal(features, other)
    assert len(shots) == 15


def test_prompts_are_tuned_through_a_real_text_tower(tmp_path):
    write_small_suite(tmp_path / "suite")
    bundle = load_bundle(tiny_bundle(tmp_path / "bundle", paints=False))
    models = Models(bundle, "cpu")
    where = tmp_path / "features"
    store = FeatureStore(where, models.part_fingerprint("encoder"), lambda: models.encoder)
    recipe = resolve_recipe("paper", bundle.recipe_defaults)
    real, encoded = scoring.gather(
        read_suite(tmp_path / "suite"), models, store, recipe, no_progress
    )
    for name in ("coop", "locoop-style"):
        fitted = find_system(name).fit(real, 0)
        assert fitted.chosen["loss"]["last"] < fitted.chosen["loss"]["first"]
        assert fitted.added_parameters % 32 == 0  # vectors of 32 numbers
        assert fitted(encoded.test).shape == (len(encoded.test),)


def test_vos_weighs_the_energy_in_its_loss_and_not_in_its_score():
    rng = np.random.default_rng(0)
    weight, bias, shares = rng.normal(size=(3, 6)), rng.normal(size=3), np.array([0.5, -0.2, 2.0])
    images = unit_rows(5, 6)

    def energy(logits):
        return np.log(0.5 * np.exp(logits[0]) + 2.0 * np.exp(logits[2]))  # relu drops the second

    expected = [np.log(np.exp(weight @ (2 * image) + bias).sum()) for image in images]
    head = EnergyHead(weight, bias, shares, length=2.0)
    np.testing.assert_allclose(head.score(7 * images.astype("f4")), expected, atol=1e-5)

    inside, outside = rng.normal(size=(4, 3)), rng.normal(size=(2, 3))
    terms = [np.log1p(np.exp(-(1.5 * energy(row) - 0.3))) for row in inside]
    terms += [np.log1p(np.exp(1.5 * energy(row) - 0.3)) for row in outside]
    loss = energy_loss(*as_torch(inside, outside, shares), torch.tensor([1.5, -0.3]))
    assert float(loss) == pytest.approx(np.mean(terms), rel=1e-5)


def test_an_unlikely_sample_is_as_the_least_likely_of_many(monkeypatch):
    """Drawn at once, they are distributed as those found by drawing all and keeping one."""
    monkeypatch.setattr(vos, "SAMPLED", 40)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 3)) @ np.array([[1, 0.5, 0], [0, 1, 0], [0, 0, 0.3]])
    labels = np.repeat([0, 1], 30)
    gaussians = vos.TiedGaussians(rows, labels)
    means = np.array([rows[:30].mean(0), rows[30:].mean(0)])
    centred = rows - means[labels]
    covariance = centred.T @ centred / 60 + 1e-4 * np.eye(3)
    density = multivariate_normal(means[1], covariance)

    at_once = [density.logpdf(gaussians.unlikely(rng)[1]) for _ in range(400)]
    kept = [density.logpdf(density.rvs(40, random_state=rng)).min() for _ in range(400)]
    np.testing.assert_allclose(np.mean(at_once), np.mean(kept), atol=0.25)
    np.testing.assert_allclose(np.std(at_once), np.std(kept), atol=0.25)


def test_npos_keeps_the_farthest_noise_around_the_loneliest_images():
    images = unit_rows(12, 5) * 0.2 + np.eye(5)[0]
    images[7] = np.eye(5)[1] + 0.3 * np.eye(5)[0]  # far from the rest of its class
    images = (images / np.linalg.norm(images, axis=1, keepdims=True)).astype("f4")
    found = npos.around_boundary(images, np.zeros(12, np.int64), 0.1, 0)
    assert found.shape == (8, 5)  # 30 % of 12 images, two points each

    noise = 0.1 * np.random.default_rng(0).normal(size=(1000, 5))
    points = images[7] + noise
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    distance = np.sort(np.linalg.norm(points[:, None] - images[None], axis=2), axis=1)[:, 3]
    best = points[np.argsort(-distance)[:2]]
    np.testing.assert_allclose(found[:2], best, atol=1e-5)


@pytest.mark.parametrize("name", ["lsn", "clipn"])
def test_what_a_class_is_not_needs_other_classes(inputs, name):
    single = replace(inputs, class_names=CLASSES[:1], train=inputs.train.take(range(20)))
    with pytest.raises(InputError, match="needs two classes or more"):
        find_system(name).fit(single, 0)


def test_npos_needs_neighbours(inputs):
    lonely = replace(inputs, train=inputs.train.take([0, 20, 21, 40, 41]))
    with pytest.raises(InputError, match="class 0 has one image"):
        find_system("npos").fit(lonely, 0)
