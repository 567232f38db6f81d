"""Image evidence: against its definition, on every shape of data, and on disk."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from small_detector import make_detector
from synood import OODDetector, ood_metrics
from synood.detector.evidence import PARTS, ImageEvidence
from synood.detector.fit_evidence import fit_evidence, folds
from synood.errors import CheckpointError, InputError
from synood.settings import EvidenceSettings

pytestmark = pytest.mark.numerical

DIM = 12
ALL = EvidenceSettings(text=0.5, distance=0.5, neighbour=0.5, head=1.0)


def images(per_class=10, classes=3, seed=0, spread=0.25, dim=DIM):
    """Features around `classes` corners, of any length, with their classes."""
    rng = np.random.default_rng(seed)
    corners = np.eye(dim)[:classes] + 0.3
    labels = np.repeat(np.arange(classes), per_class)
    features = corners[labels] + spread * rng.normal(size=(len(labels), dim))
    return (features * rng.uniform(1, 9, (len(labels), 1))).astype(np.float32), labels


def elsewhere(count=60, seed=9, dim=DIM):
    """Features around corners that are no class."""
    rng = np.random.default_rng(seed)
    corners = np.eye(dim)[rng.integers(dim // 2, dim, count)] + 0.3
    return (corners + 0.25 * rng.normal(size=(count, dim))).astype(np.float32)


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_parts_are_what_they_are_called():
    features, labels = images()
    evidence = ImageEvidence.fit(features, labels, 3, settings=ALL)
    u, new = unit(features), unit(elsewhere(7))
    means = np.stack([u[labels == c].mean(0) for c in range(3)])
    rest = u - means[labels]
    covariance = rest.T @ rest / len(u)
    measured = evidence.whitening.astype(float)
    inverse = measured @ measured.T
    weight = np.trace(np.linalg.inv(inverse) - covariance) / np.trace(covariance)
    assert abs(weight) < 1e-3  # shrinkage keeps the total variance
    expected = np.array([min((x - m) @ inverse @ (x - m) for m in means) for x in new])
    cosines = np.array([max(float(x @ y) for y in u) for x in new])
    found = evidence.parts(new)
    np.testing.assert_allclose(found[:, 0], -expected, rtol=1e-3)
    np.testing.assert_allclose(found[:, 1], cosines, atol=1e-6)
    logits = new @ evidence.head_weight.T.astype(float) + evidence.head_bias
    np.testing.assert_allclose(found[:, 2], logits.max(axis=1), rtol=1e-4, atol=1e-5)


def test_the_head_minimises_its_loss():
    features, labels = images(per_class=6)
    evidence = ImageEvidence.fit(features, labels, 3, settings=ALL)
    u, truth = unit(features), np.eye(3)[labels]
    logits = u @ evidence.head_weight.T.astype(float) + evidence.head_bias
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    gradient = (p - truth).T @ u / len(u) + ALL.head_penalty * evidence.head_weight
    assert np.abs(gradient).max() < 1e-5
    assert np.abs((p - truth).mean(axis=0)).max() < 1e-5


def test_a_value_of_an_image_comes_from_evidence_that_has_not_seen_it():
    features, labels = images(per_class=8)
    plain = EvidenceSettings(text=0, distance=1, folds=4)
    evidence, held_out = fit_evidence(features, labels, 3, settings=plain)
    fold = folds(labels, 4)
    for number in range(4):
        rest, out = fold != number, fold == number
        part = ImageEvidence.fit(features[rest], labels[rest], 3, settings=plain)
        values = np.column_stack([np.zeros(out.sum()), part.parts(features[out])])
        np.testing.assert_allclose(
            held_out.scores[out], evidence.fuse(values), rtol=1e-4, atol=1e-3
        )


def test_held_out_scores_are_standardised():
    features, labels = images(per_class=30)
    text = np.random.default_rng(3).normal(7, 2, len(labels))
    _, held_out = fit_evidence(features, labels, 3, text=text, settings=ALL)
    assert abs(float(held_out.scores.mean()) - 2 * 1.6448536**2) < 0.01
    assert abs(float(held_out.scores.std()) - 2 * 1.6448536) < 0.01
    assert 0.9 < float((held_out.scores > 0).mean()) < 0.99


def test_new_images_of_the_classes_score_as_held_out_ones_and_others_lower():
    features, labels = images(per_class=40)
    evidence, held_out = fit_evidence(features, labels, 3, settings=ALL)
    new = evidence.scores(images(per_class=100, seed=5)[0])
    assert abs(float(np.median(new) - np.median(held_out.scores))) < 1.0
    assert ood_metrics(new, evidence.scores(elsewhere(300))).auroc > 0.95


@pytest.mark.parametrize("per_class", [1, 2, 40])
@pytest.mark.parametrize("classes", [1, 2, 5])
@pytest.mark.parametrize("dim", [12, 300])
def test_it_is_defined_for_every_shape_of_data(per_class, classes, dim):
    features, labels = images(per_class, classes, dim=dim, spread=0.1)
    evidence, held_out = fit_evidence(features, labels, classes, settings=ALL)
    new = evidence.scores(images(50, classes, seed=4, dim=dim, spread=0.1)[0])
    other = evidence.scores(elsewhere(50, dim=dim))
    assert np.isfinite(new).all()
    assert np.isfinite(other).all()
    assert np.isfinite(held_out.scores).all() == (per_class > 1)
    assert len(np.unique(new)) == len(new)  # nothing saturates
    assert ood_metrics(new, other).auroc > 0.9
    assert (evidence.labels(features) == labels).mean() > 0.9


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.integers(1, 20),
    st.booleans(),
    st.integers(0, 99),
)
def test_any_folder_gives_finite_scores(counts, dim, copies, seed):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    features = rng.normal(size=(len(labels), dim)).astype(np.float32)
    if copies:  # every class one image, many times
        features = features[np.searchsorted(labels, labels)]
    text = rng.normal(size=len(labels))
    evidence, _ = fit_evidence(features, labels, len(counts), text=text, settings=ALL)
    new = rng.normal(size=(5, dim))
    assert np.isfinite(evidence.scores(new, np.zeros(5))).all()
    assert evidence.labels(new).max() < len(counts)


def test_far_away_has_no_bound():
    features, labels = images(classes=1, per_class=50)
    evidence = ImageEvidence.fit(features, labels, 1, settings=ALL)
    towards = -unit(features).mean(0)[None]
    nearer = [unit(features[:1] + step * towards) for step in (0, 3, 6)]
    found = [float(evidence.scores(row)[0]) for row in nearer]
    assert found[0] > found[1] > found[2]
    assert evidence.head_bias.shape == (0,)
    assert evidence.weights[3] == 0


def test_an_image_does_not_depend_on_the_others():
    features, labels = images()
    evidence = ImageEvidence.fit(features, labels, 3, settings=ALL)
    new = elsewhere(600)
    alone = np.concatenate([evidence.scores(new[i : i + 1]) for i in range(0, 600, 50)])
    np.testing.assert_allclose(evidence.scores(new)[::50], alone, rtol=1e-4, atol=1e-4)


def test_text_counts_where_it_is_given():
    features, labels = images()
    text = np.random.default_rng(1).normal(5, 1, len(labels))
    evidence = ImageEvidence.fit(features, labels, 3, text=text, settings=ALL)
    assert evidence.uses_text
    low, high = (evidence.scores(features[:4], np.full(4, value)) for value in (0.0, 9.0))
    assert (low < high).all()
    assert not ImageEvidence.fit(features, labels, 3, settings=ALL).uses_text


def test_folds_keep_neighbours_together_and_are_even():
    labels = np.repeat(np.arange(7), [1, 2, 3, 10, 10, 4, 6])
    fold = folds(labels, 5)
    assert set(fold) == set(range(5))
    for one in range(7):
        mine = fold[labels == one]
        assert (np.diff(np.unique(mine, return_counts=True)[1]) <= 1).all()
        changes = np.count_nonzero(np.diff(mine))
        assert changes == len(np.unique(mine)) - 1


def test_what_does_not_fit_is_said():
    features, labels = images()
    broken = features.copy()
    broken[4, 2] = np.nan
    for call, words in (
        (lambda: fit_evidence(broken, labels, 3), "row 4"),
        (lambda: fit_evidence(features, labels[:-1], 3), "one whole number for each of 30"),
        (lambda: fit_evidence(features, labels, 4), "class 3 has no image"),
        (lambda: fit_evidence(features, labels, 2), "0 to 1"),
        (lambda: fit_evidence(features, labels, 3, text=np.zeros(3)), "for 30 images"),
    ):
        with pytest.raises(InputError, match=words):
            call()


def evident_detector():
    detector = make_detector()
    dim = detector.class_features.shape[1]
    features, labels = images(6, len(detector.class_names), dim=dim)
    text = np.zeros(len(labels)) + np.arange(len(labels)) % 3
    evidence = ImageEvidence.fit(
        features, labels, len(detector.class_names), text=text, settings=ALL
    )
    return dataclasses.replace(detector, image_evidence=evidence), features


def test_a_detector_keeps_its_evidence_on_disk(tmp_path):
    detector, features = evident_detector()
    detector.save_pretrained(tmp_path / "detector")
    read = OODDetector.from_pretrained(tmp_path / "detector")
    assert read.image_evidence is not None
    for name, array in detector.image_evidence.to_tensors().items():
        np.testing.assert_array_equal(getattr(read.image_evidence, name), array)
    np.testing.assert_array_equal(read.score_features(features), detector.score_features(features))
    found, expected = (one.predict_features(features) for one in (read, detector))
    assert [p.label for p in found] == [p.label for p in expected]
    assert found[0].why.image_class in detector.class_names


def test_the_score_of_a_detector_is_the_fused_one():
    detector, features = evident_detector()
    text = dataclasses.replace(detector, image_evidence=None).score_features(features)
    expected = detector.image_evidence.scores(features, text)
    np.testing.assert_array_equal(detector.score_features(features), expected)
    predicted = [p.score for p in detector.predict_features(features)]
    np.testing.assert_allclose(predicted, expected, rtol=1e-6)


@pytest.mark.parametrize("name", [*ImageEvidence.__dataclass_fields__])
def test_a_damaged_array_is_named(name):
    evidence = evident_detector()[0].image_evidence
    tensors = evidence.to_tensors()
    with pytest.raises(InputError, match=name):
        ImageEvidence.from_tensors({key: tensors[key] for key in tensors if key != name})
    with pytest.raises(InputError, match="image evidence"):
        ImageEvidence.from_tensors({**tensors, name: tensors[name][..., None]})
    if tensors[name].dtype == np.float32:
        with pytest.raises(InputError, match="image evidence"):
            ImageEvidence.from_tensors({**tensors, name: tensors[name] * np.float32("nan")})


def test_values_on_disk_that_cannot_be_are_refused(tmp_path):
    detector, _ = evident_detector()
    evidence = detector.image_evidence
    for change, words in (
        ({"scale": -evidence.scale}, "deviation is not positive"),
        ({"weights": 0 * evidence.weights}, "one of them above 0"),
        ({"neighbour_classes": evidence.neighbour_classes + 99}, "class that there is not"),
    ):
        with pytest.raises(InputError, match=words):
            dataclasses.replace(evidence, **change)
    detector.save_pretrained(tmp_path / "detector")
    path = tmp_path / "detector" / "config.json"
    text = path.read_text()
    assert '"head": ' in text
    path.write_text(text.replace('"head": ', '"head": 1'))
    with pytest.raises(CheckpointError, match=r"evidence\.head"):
        OODDetector.from_pretrained(tmp_path / "detector")
    path.write_text(text.replace('"head": ', '"tail": '))
    with pytest.raises(CheckpointError, match="image_evidence"):
        OODDetector.from_pretrained(tmp_path / "detector")


def test_evidence_of_other_classes_is_refused():
    detector, _ = evident_detector()
    features, labels = images(4, 5)
    other = ImageEvidence.fit(features, labels, 5, settings=ALL)
    with pytest.raises(InputError, match="does not fit class"):
        dataclasses.replace(detector, image_evidence=other)
    assert PARTS[0] == "text"
