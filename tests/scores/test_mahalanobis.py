"""Mahalanobis++ equals a straight line in double precision and scikit-learn; always defined."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import OAS, EmpiricalCovariance

from synood import metrics, scores
from synood.errors import InputError

pytestmark = pytest.mark.numerical

WIDTH = 8


def images_of(seed, classes=3, each=60, width=WIDTH, scale=0.4):
    """Features around class directions, of lengths between 0.5 and 20."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    centres = rng.normal(size=(classes, width)) + 1.0
    rows = centres[labels] + scale * rng.normal(size=(len(labels), width)) * rng.uniform(
        0.2, 2, width
    )
    rows *= rng.uniform(0.5, 20, (len(labels), 1)) / np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), labels


def unit(row):
    return row.astype(np.float64) / np.sqrt(np.sum(row.astype(np.float64) ** 2))


def straight_line(train, labels, test, one_class=False):
    """Minus the least quadratic form, written out for one image at a time."""
    us = [unit(row) for row in train]
    names = [0] * len(us) if one_class else list(labels)
    means = {
        name: sum(u for u, n in zip(us, names, strict=True) if n == name) / names.count(name)
        for name in sorted(set(names))
    }
    shared = sum(
        np.outer(u - means[n], u - means[n]) for u, n in zip(us, names, strict=True)
    ) / len(us)
    inverse = np.linalg.inv(shared)
    return np.array(
        [-min((unit(x) - m) @ inverse @ (unit(x) - m) for m in means.values()) for x in test]
    )


def test_with_enough_images_it_is_the_formula_of_the_paper():
    train, labels = images_of(0)
    test, _ = images_of(1, each=9)
    fitted = scores.MahalanobisPlus.fit(train, labels)
    assert fitted.classes.shrinkage == fitted.background.shrinkage == 0.0
    plain = straight_line(train, labels, test)
    background = straight_line(train, labels, test, one_class=True)
    np.testing.assert_allclose(fitted.score(test), plain, rtol=1e-4)
    np.testing.assert_allclose(fitted.relative(test), plain - background, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("each", "width"), [(4, 8), (20, 8), (3, 40)])
def test_with_fewer_it_is_shrunk_as_scikit_learn_does(each, width):
    train, labels = images_of(2, each=each, width=width)
    test, _ = images_of(3, each=5, width=width)
    us = np.array([unit(row) for row in train])
    means = np.array([us[labels == c].mean(axis=0) for c in range(3)])
    rest = us - means[labels]
    emp = EmpiricalCovariance(assume_centered=True).fit(rest).covariance_
    theirs = OAS(assume_centered=True).fit(rest).shrinkage_
    # scikit-learn counts N images; C means of them were estimated, so N - C are free
    weight = min(theirs * (len(us) + 1) / (len(us) - 3 + 1), 1.0) if theirs < 1 else 1.0
    fitted = scores.MahalanobisPlus.fit(train, labels)
    assert fitted.classes.shrinkage == pytest.approx(weight, rel=1e-4)
    covariance = (1 - weight) * emp + weight * np.trace(emp) / width * np.eye(width)
    inverse = np.linalg.inv(covariance)
    expected = [[(unit(x) - m) @ inverse @ (unit(x) - m) for m in means] for x in test]
    np.testing.assert_allclose(fitted.distances(test), expected, rtol=1e-3)
    np.testing.assert_allclose(fitted.score(test), -np.min(expected, axis=1), rtol=1e-3)


def test_equals_scikit_learns_distances_for_one_class():
    train, _ = images_of(4, classes=1, each=200)
    us = np.array([unit(row) for row in train])
    model = EmpiricalCovariance().fit(us)
    fitted = scores.MahalanobisPlus.fit(train, np.zeros(len(train)))
    np.testing.assert_allclose(fitted.score(train), -model.mahalanobis(us), rtol=1e-4)


def test_one_class_has_no_background_and_the_plain_score_stands_in_for_the_relative_one():
    train, _ = images_of(5, classes=1)
    fitted = scores.MahalanobisPlus.fit(train, ["bolt"] * len(train))
    assert fitted.background is None
    assert (fitted.relative(train) == fitted.score(train)).all()
    assert len(np.unique(fitted.score(train))) == len(train)


def test_one_image_a_class_ranks_as_the_largest_cosine():
    train, _ = images_of(6, classes=12, each=1, width=40)
    test, _ = images_of(7, classes=12, each=3, width=40)
    fitted = scores.MahalanobisPlus.fit(train, np.arange(12))
    cosines = scores.Neighbours.fit(train).cosine(test)
    assert (np.argsort(fitted.score(test)) == np.argsort(cosines)).all()
    assert fitted.background is None  # its Gaussian would be narrower than those of the classes
    assert (fitted.relative(test) == fitted.score(test)).all()


@pytest.mark.parametrize("copies", [1, 3])
def test_a_single_image_ranks_as_its_cosine(copies):
    image = images_of(8, classes=1, each=1)[0]
    test, _ = images_of(9)
    fitted = scores.MahalanobisPlus.fit(np.repeat(image, copies, axis=0), [0] * copies)
    cosines = scores.cosine_similarity(test, image)[:, 0]
    assert (np.argsort(fitted.score(test)) == np.argsort(cosines)).all()


def test_a_few_images_in_many_dimensions_tell_their_classes_from_others():
    train, labels = images_of(10, classes=4, each=5, width=200, scale=0.3)
    fresh = images_of(10, classes=4, each=30, width=200, scale=0.3)[0]
    ood, _ = images_of(11, classes=4, each=30, width=200, scale=0.3)
    fitted = scores.MahalanobisPlus.fit(train, labels)
    assert 0.0 < fitted.classes.shrinkage < 1.0
    for score in (fitted.score, fitted.relative):
        assert metrics.auroc(score(fresh), score(ood)) > 0.95


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 6), st.integers(1, 12),
    st.sampled_from([None, 0.0, 0.1, 1.0]),
)  # fmt: skip
def test_any_training_images_give_finite_scores_that_ignore_length(
    seed, classes, each, width, shrinkage
):
    train, labels = images_of(seed, classes, each, width)
    test, _ = images_of(seed + 1, classes, each, width)
    fitted = scores.MahalanobisPlus.fit(train, labels, shrinkage)
    for score in (fitted.score, fitted.relative):
        found = score(test)
        assert found.dtype == np.float32
        assert found.shape == (len(test),)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(score(4 * test), found, rtol=1e-4, atol=1e-4)
    assert (fitted.score(test) <= 0).all()
    nearest = fitted.distances(test).min(axis=1)
    np.testing.assert_array_equal(fitted.score(test), -nearest)


def test_names_may_be_words_and_images_come_in_any_order():
    train, labels = images_of(12)
    words = np.array(["pear", "apple", "fig"])[labels]
    order = np.random.default_rng(0).permutation(len(train))
    here = scores.MahalanobisPlus.fit(train, words).score(train)
    there = scores.MahalanobisPlus.fit(train[order], words[order]).score(train)
    np.testing.assert_allclose(here, there, rtol=1e-5, atol=1e-5)


def test_more_rows_than_a_block_are_scored_one_by_one_the_same():
    train, labels = images_of(13)
    many = np.tile(train, (7, 1))  # 1,260 rows
    fitted = scores.MahalanobisPlus.fit(train, labels)
    np.testing.assert_allclose(fitted.score(many), np.tile(fitted.score(train), 7), rtol=1e-4)
    np.testing.assert_allclose(fitted.score(train[5:6]), fitted.score(train)[5:6], rtol=1e-4)
    assert fitted.distances(many).shape == (1260, 3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: scores.MahalanobisPlus.fit(x, [1, 2]), r"labels: shape \(2,\) for 180 images"),
        (lambda x: scores.MahalanobisPlus.fit(x[:0], []), "no training images"),
        (lambda x: scores.MahalanobisPlus.fit(0 * x, x[:, 0]), "row 0 has length 0"),
        (lambda x: scores.MahalanobisPlus.fit(x, x[:, 0], 1.5), r"shrinkage: 1.5 is not in \[0"),
        (
            lambda x: scores.MahalanobisPlus.fit(x, np.zeros(180)).score(x[:, :3]),
            "features: 3 columns",
        ),
    ],
)
def test_unusable_input_is_refused_in_a_sentence(call, words):
    with pytest.raises(InputError, match=words):
        call(images_of(14)[0])
