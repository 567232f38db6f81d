"""Scores point the right way, equal a straight-line twin and stay finite where exp does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from synood import metrics, scores
from synood.errors import InputError
from synood.scores import _rows

pytestmark = pytest.mark.numerical

CLASSES, NEGATIVES, WIDTH = 12, 70, 32


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def planted(seed=0, images=200):
    """Features of classes, negatives, ID images near classes and OOD images near negatives."""
    rng = np.random.default_rng(seed)
    labels = unit(rng.normal(size=(CLASSES + NEGATIVES, WIDTH)))
    id_images = labels[rng.integers(0, CLASSES, images)]
    ood_images = labels[rng.integers(CLASSES, CLASSES + NEGATIVES, images)]
    noise = 0.1 * rng.normal(size=(2, images, WIDTH))
    return labels[:CLASSES], labels[CLASSES:], id_images + noise[0], ood_images + noise[1]


# Orientation: on planted data every score must tell the two sets apart, ID above OOD.


@pytest.mark.parametrize(
    "score",
    [
        scores.msp,
        scores.max_logit,
        scores.energy,
        lambda logits: scores.energy(logits, temperature=2.0),
        lambda logits: scores.mcm(logits / 20.0, temperature=0.05),
    ],
)
def test_scores_of_logits_are_higher_for_in_distribution_images(score):
    classes, _, id_images, ood_images = planted()
    separation = metrics.auroc(
        score(20.0 * id_images @ classes.T), score(20.0 * ood_images @ classes.T)
    )
    assert separation > 0.99


@pytest.mark.parametrize("groups", [None, 1, 10, 70, 1000])
def test_neglabel_is_higher_for_in_distribution_images(groups):
    classes, negatives, id_images, ood_images = planted()
    sides = [
        scores.neglabel(
            scores.cosine_similarity(images, classes),
            scores.cosine_similarity(images, negatives),
            groups=groups,
        )
        for images in (id_images, ood_images)
    ]
    assert metrics.auroc(*sides) > 0.99
    scorer = scores.NegLabelScorer.from_features(classes, negatives, groups=groups)
    assert metrics.auroc(scorer(id_images), scorer(ood_images)) > 0.99


# Straight-line twins, in double precision and without sharing a line with the product.


def softmax(row):
    powers = [math.exp(value - max(row)) for value in row]
    return [power / math.fsum(powers) for power in powers]


def twin_neglabel(id_row, negative_row, temperature, order):
    shares = []
    for group in order:
        row = [*id_row, *(negative_row[index] for index in group)]
        probabilities = softmax([float(value) / temperature for value in row])
        shares.append(math.fsum(probabilities[: len(id_row)]))
    return math.fsum(shares) / len(shares)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("temperature", "groups"), [(0.01, 7), (0.01, 100), (0.01, None), (1.0, 9), (0.1, 1)]
)
def test_grouped_neglabel_equals_softmax_group_by_group(dtype, temperature, groups):
    rng = np.random.default_rng(1)
    id_similarity = rng.uniform(-0.1, 0.4, (40, 13)).astype(dtype)
    negative_similarity = rng.uniform(-0.1, 0.4, (40, 205)).astype(dtype)
    found = scores.neglabel(id_similarity, negative_similarity, temperature, groups, seed=4)

    order = scores.group_order(205, groups, 4)
    expected = [
        twin_neglabel(*rows, temperature, order)
        for rows in zip(id_similarity, negative_similarity, strict=True)
    ]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)


def published_neglabel(classes, negatives, images, order):
    """NegLabel's clip_ood.py:25-49 line by line, on its 100 groups and logits of 100 * cosine.

    It shuffles by torch.randperm on the GPU after seeding with 0, an order that differs from
    device to device and from NumPy's; the order is therefore given.
    """
    rows = [torch.nn.functional.normalize(torch.from_numpy(r).double()) for r in (classes, images)]
    negatives = torch.nn.functional.normalize(torch.from_numpy(negatives).double())
    pos, neg = 100.0 * rows[1] @ rows[0].T, 100.0 * rows[1] @ negatives.T
    drop = neg.shape[1] % 100
    neg = neg[:, :-drop] if drop else neg
    neg = neg.T[order].T.reshape(len(pos), 100, -1)
    shares = []
    for group in range(100):
        full = torch.cat([pos, neg[:, group]], dim=-1).softmax(dim=-1)
        shares.append(full[:, : pos.shape[1]].sum(dim=-1))
    return torch.stack(shares).mean(dim=0).numpy()


@pytest.mark.parametrize("n_negatives", [10_499, 10_400])
def test_the_grouped_score_is_the_published_one_at_the_size_of_imagenet(n_negatives):
    rng = np.random.default_rng(6)
    common = rng.normal(size=64)  # CLIP's texts and images lie in two narrow cones
    classes, negatives = (2.0 * common + rng.normal(size=(n, 64)) for n in (1_000, n_negatives))
    images = np.concatenate([classes[:20], negatives[:20]]) + rng.normal(size=(40, 64))
    images = images.astype(np.float32)
    order = scores.group_order(n_negatives, 100, seed=0).ravel()
    assert sorted(order.tolist()) == list(range(10_400))  # the last n mod 100 are dropped
    expected = published_neglabel(classes, negatives, images, torch.from_numpy(order.copy()))
    assert expected.std() > 0.05
    scorer = scores.NegLabelScorer.from_features(classes, negatives)
    np.testing.assert_allclose(scorer(images), expected, atol=1e-6, rtol=0)
    cosines = [scores.cosine_similarity(images, texts) for texts in (classes, negatives)]
    np.testing.assert_allclose(scores.neglabel(*cosines), expected, atol=1e-6, rtol=0)


def test_scoring_features_equals_scoring_their_cosines():
    classes, negatives, id_images, ood_images = planted(seed=2, images=300)
    images = np.concatenate([7.0 * id_images, ood_images])
    for groups in (1, 6, 70):
        scorer = scores.NegLabelScorer.from_features(3.0 * classes, negatives, 0.02, groups, seed=9)
        cosines = [unit(images) @ unit(labels).T for labels in (classes, negatives)]
        expected = scores.neglabel(*cosines, 0.02, groups, seed=9)
        np.testing.assert_allclose(scorer(images), expected, atol=2e-6, rtol=0)


def test_scores_of_logits_equal_their_definitions():
    logits = np.random.default_rng(3).normal(0, 5, (30, 9))
    for row, msp, largest, energy, mcm in zip(
        logits,
        scores.msp(logits),
        scores.max_logit(logits),
        scores.energy(logits, temperature=2.5),
        scores.mcm(logits, temperature=0.5),
        strict=True,
    ):
        assert msp == pytest.approx(max(softmax(row)), rel=1e-6)
        assert largest == pytest.approx(max(row), rel=1e-6)
        free = 2.5 * math.log(math.fsum(math.exp(value / 2.5) for value in row))
        assert energy == pytest.approx(free, rel=1e-6)
        assert mcm == pytest.approx(max(softmax(2.0 * row)), rel=1e-6)


# Properties.

cosines = st.floats(-1.0, 1.0, width=32)


@given(
    hnp.arrays(np.float32, (3, 4), elements=cosines),
    hnp.arrays(np.float32, (3, 11), elements=cosines),
    st.sampled_from([1e-6, 0.01, 1.0, 1e6]),
    st.sampled_from([None, 1, 2, 5, 11, 12]),
)
def test_neglabel_is_a_share_at_every_temperature(classes, negatives, temperature, groups):
    found = scores.neglabel(classes, negatives, temperature, groups)
    assert np.all((found >= 0.0) & (found <= 1.0))


@settings(max_examples=50)
@given(
    hnp.arrays(np.float64, (2, 4), elements=cosines),
    hnp.arrays(np.float64, (2, 6), elements=cosines),
    st.floats(-50, 50),
    st.permutations(range(4)),
    st.permutations(range(6)),
)
def test_neglabel_ignores_a_common_shift_and_the_order_of_labels(
    classes, negatives, shift, class_order, negative_order
):
    plain = scores.neglabel(classes, negatives, 0.1, groups=1)
    shifted = scores.neglabel(classes + shift, negatives + shift, 0.1, groups=1)
    mixed = scores.neglabel(classes[:, class_order], negatives[:, negative_order], 0.1, groups=1)
    np.testing.assert_allclose(shifted, plain, atol=1e-6)
    np.testing.assert_allclose(mixed, plain, atol=1e-6)


@settings(max_examples=50)
@given(
    hnp.arrays(np.float32, (1, 4), elements=cosines),
    hnp.arrays(np.float32, (1, 6), elements=cosines),
    st.integers(0, 5),
)
def test_coming_closer_to_a_negative_label_never_raises_the_score(classes, negatives, which):
    closer = negatives.copy()
    closer[0, which] = 1.0
    before, after = (scores.neglabel(classes, some, groups=3) for some in (negatives, closer))
    assert after[0] <= before[0] + 1e-6


def test_far_apart_similarities_neither_overflow_nor_vanish():
    id_row, negative_row = np.full((1, 3), -1.0, np.float32), np.full((1, 4), 1.0, np.float32)
    with np.errstate(all="raise"):
        assert scores.neglabel(id_row, negative_row, 1e-4, groups=2)[0] == 0.0
        assert scores.neglabel(negative_row, id_row, 1e-4, groups=3)[0] == 1.0
        # The class mass is tiny beside one group only: the other groups still count in full.
        mixed = np.array([[1.0, -1.0]], np.float32)
        assert scores.neglabel(np.zeros((1, 1)), mixed, 0.001, groups=2)[0] == 0.5
        huge = np.array([[1e4, -1e4], [5e4, 5e4]], np.float32)
        np.testing.assert_allclose(scores.energy(huge), [1e4, 5e4 + math.log(2)])
        np.testing.assert_allclose(scores.msp(huge), [1.0, 0.5])


def test_the_number_of_images_at_once_does_not_matter(monkeypatch):
    classes, negatives, id_images, _ = planted(images=65)
    similarity = [scores.cosine_similarity(id_images, labels) for labels in (classes, negatives)]
    scorer = scores.NegLabelScorer.from_features(classes, negatives, groups=10)
    whole = scores.neglabel(*similarity, groups=10), scores.energy(similarity[0])
    from_features = scorer(id_images)
    monkeypatch.setattr(_rows, "ROWS", 16)
    blocked = scores.neglabel(*similarity, groups=10), scores.energy(similarity[0])
    np.testing.assert_array_equal(blocked, whole)
    np.testing.assert_allclose(scorer(id_images), from_features, atol=2e-6)
    single = np.concatenate([scorer(id_images[i : i + 1]) for i in range(65)])
    np.testing.assert_allclose(single, from_features, atol=2e-6)


def test_inputs_are_left_as_they_are():
    id_similarity = np.random.default_rng(0).random((5, 3)).astype(np.float32)
    negative_similarity = np.random.default_rng(1).random((5, 6)).astype(np.float32)
    before = id_similarity.copy(), negative_similarity.copy()
    for groups in (1, 2):
        scores.neglabel(id_similarity, negative_similarity, groups=groups)
    scores.msp(id_similarity)
    np.testing.assert_array_equal(id_similarity, before[0])
    np.testing.assert_array_equal(negative_similarity, before[1])


@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 2**32))
def test_groups_are_equal_disjoint_and_drop_the_last_labels(n, groups, seed):
    order = scores.group_order(n, groups, seed)
    if groups > n:
        assert order.tolist() == [list(range(n))]
        return
    assert order.shape == (groups, n // groups)
    assert sorted(order.ravel()) == list(range(n - n % groups))
    np.testing.assert_array_equal(order, scores.group_order(n, groups, seed))


def test_groups_are_dealt_by_the_seed():
    assert not np.array_equal(scores.group_order(100, 10, 0), scores.group_order(100, 10, 1))
    assert scores.group_order(5, None, 3).tolist() == [[0, 1, 2, 3, 4]]


def test_no_images_give_no_scores():
    empty = np.empty((0, 4), np.float32)
    assert scores.msp(empty).shape == (0,)
    assert scores.neglabel(empty, empty).shape == (0,)
    assert scores.NegLabelScorer.from_features(np.eye(4), np.eye(4))(empty).shape == (0,)


@given(
    hnp.arrays(np.float64, (3, 5), elements=st.floats(0.1, 1.0)),
    st.sampled_from([1e-150, 1e-30, 1.0, 1e30, 1e150]),
)
def test_normalised_rows_have_unit_length_at_any_scale(rows, scale):
    lengths = np.linalg.norm(scores.normalise(scale * rows), axis=1)
    np.testing.assert_allclose(lengths, 1.0, atol=1e-6)


def test_cosines_do_not_leave_their_range():
    rows = np.random.default_rng(0).normal(size=(200, 7))
    found = scores.cosine_similarity(rows, np.concatenate([rows, -rows]))
    assert found.dtype == np.float32
    assert found.max() <= 1.0
    assert found.min() >= -1.0
    np.testing.assert_allclose(np.diag(found), 1.0, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: scores.msp([1.0, 2.0]), r"logits: shape \(2,\)"),
        (lambda: scores.msp([[1.0, math.nan]]), "row 0 holds NaN"),
        (lambda: scores.energy([[1.0], [math.inf]]), "row 1 holds NaN or infinity"),
        (lambda: scores.msp(np.empty((3, 0))), r"logits: shape \(3, 0\)"),
        (lambda: scores.msp([["a"]]), "logits: dtype"),
        (lambda: scores.msp([[1.0], [1.0, 2.0]]), "logits: not an array"),
        (lambda: scores.energy([[1.0]], temperature=0.0), "temperature: 0.0"),
        (lambda: scores.mcm([[1.0]], temperature=math.nan), "temperature: nan"),
        (lambda: scores.neglabel([[1.0]], [[1.0]], temperature=-1), "temperature: -1"),
        (lambda: scores.neglabel([[1.0]], [[1.0], [1.0]]), "negative_similarity: 2 rows"),
        (lambda: scores.neglabel([[1.0]], [[1.0]], groups=0), "groups: 0 is below 1"),
        (lambda: scores.neglabel([[1.0]], [[math.nan]]), "row 0 holds NaN"),
        (lambda: scores.group_order(0, 1, 0), "at least one is needed"),
        (lambda: scores.cosine_similarity([[1.0]], [[1.0, 2.0]]), "1 columns, but text_features"),
        (lambda: scores.normalise([[1.0], [0.0]], "x"), "x: row 1 has length 0.0"),
        (lambda: scores.normalise([[math.inf, 1.0]], "x"), "x: row 0 has length inf"),
        (
            lambda: scores.NegLabelScorer.from_features([[1.0]], [[1.0]])([[1.0, 1.0]]),
            "image_features: 2 columns",
        ),
    ],
)
def test_unusable_input_is_refused_in_a_sentence(call, words):
    with pytest.raises(InputError, match=words):
        call()
