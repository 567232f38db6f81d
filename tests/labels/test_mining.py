"""Mining equals a full sort, keeps what NegLabel keeps, and does not depend on order."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from synood.errors import InputError
from synood.labels import mining
from synood.labels.mining import class_closeness, mine_negatives, neglabel_pool
from synood.labels.wordnet import Word


def features(seed, rows, width=16):
    return np.random.default_rng(seed).normal(size=(rows, width))


def twin(candidates, classes, share, quantile):
    """Straight line: every cosine alone, every row sorted in full, every candidate ranked."""
    closeness = []
    for word in candidates:
        cosines = sorted(
            float(word @ name / np.linalg.norm(word) / np.linalg.norm(name)) for name in classes
        )
        place = quantile * (len(cosines) - 1)
        left = int(place)
        right = min(left + 1, len(cosines) - 1)
        closeness.append(cosines[left] + (place - left) * (cosines[right] - cosines[left]))
    ranked = sorted(range(len(candidates)), key=lambda row: closeness[row])
    return closeness, sorted(ranked[: int(Fraction(str(share)) * len(candidates))])


@pytest.mark.parametrize("quantile", [0.0, 0.5, 0.95, 1.0])
@pytest.mark.parametrize(("words", "classes"), [(200, 41), (150, 1), (97, 7), (1, 3)])
def test_equals_a_full_sort(words, classes, quantile):
    given_words, given_classes = features(1, words), features(2, classes)
    for share in (0.15, 0.29, 1.0):
        closeness, kept = twin(given_words, given_classes, share, quantile)
        found = class_closeness(given_words, given_classes, quantile)
        np.testing.assert_allclose(found, closeness, atol=1e-6)
        pool = neglabel_pool(given_words, given_classes, share, quantile)
        assert pool.dtype == np.int64
        assert pool.tolist() == kept


@pytest.mark.parametrize("quantile", [0.0, 0.25, 0.95, 0.999, 1.0])
def test_closeness_is_the_quantile_of_torch(quantile):
    words, classes = features(3, 300), features(4, 52)
    unit = [torch.nn.functional.normalize(torch.from_numpy(rows)) for rows in (words, classes)]
    expected = torch.quantile(unit[0] @ unit[1].T, quantile, dim=1)
    np.testing.assert_allclose(class_closeness(words, classes, quantile), expected, atol=1e-6)


@pytest.mark.parametrize("quantile", [0.0, 0.3, 0.8, 0.95, 0.999, 1.0])
@pytest.mark.parametrize("every", [None, 8], ids=["in any order", "the closest at every eighth"])
def test_many_classes_are_sorted_no_less(quantile, every):
    words, classes = features(3, 60), features(4, 1000)
    classes[5:40] = classes[5]  # ties
    if every:
        classes[::every] = words[0] + 0.3 * classes[::every]
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (words, classes)]
    expected = np.quantile(unit[0].astype(np.float64) @ unit[1].T, quantile, axis=1)
    np.testing.assert_allclose(class_closeness(words, classes, quantile), expected, atol=1e-6)


def test_the_size_of_a_block_does_not_matter(monkeypatch):
    words, classes = features(5, 100), features(6, 9)
    whole = class_closeness(words, classes)
    for cells in (1, 9, 64, 9 * 99):
        monkeypatch.setattr(mining, "CELLS", cells)
        np.testing.assert_allclose(class_closeness(words, classes), whole, atol=1e-6)


# Axes as features make every cosine 0, 1 or -1 exactly, so ties are many and rounding is none.
axes = st.integers(0, 5).map(lambda i: (-1.0 if i % 2 else 1.0) * np.eye(3)[i // 2])


def stacked(minimum):
    return st.lists(axes, min_size=minimum, max_size=20).map(np.array)


@given(stacked(1), stacked(1), st.randoms(use_true_random=False), st.sampled_from([0.0, 0.5, 1.0]))
def test_the_order_of_words_and_classes_does_not_matter(words, classes, random, quantile):
    closeness = class_closeness(words, classes, quantile)
    word_order = random.sample(range(len(words)), len(words))
    class_order = random.sample(range(len(classes)), len(classes))
    mixed = class_closeness(words[word_order], classes[class_order], quantile)
    np.testing.assert_array_equal(mixed, closeness[word_order])
    # Which of equally close words is kept may depend on the order; how close they are may not.
    kept = neglabel_pool(words, classes, 0.4, quantile)
    kept_mixed = neglabel_pool(words[word_order], classes[class_order], 0.4, quantile)
    assert sorted(closeness[kept]) == sorted(mixed[kept_mixed])


@given(st.permutations(range(40)))
def test_without_ties_the_same_words_are_kept_in_any_order(order):
    words, classes = features(7, 40), features(8, 6)
    kept = neglabel_pool(words, classes, share=0.3)
    kept_mixed = neglabel_pool(words[order], classes, share=0.3)
    assert sorted(np.array(order)[kept_mixed]) == kept.tolist()


@given(
    hnp.arrays(np.float64, 40, elements=st.floats(1e-3, 1e3)),
    hnp.arrays(np.float64, 6, elements=st.floats(1e-3, 1e3)),
)
def test_the_length_of_features_does_not_matter(word_lengths, class_lengths):
    words, classes = features(7, 40), features(8, 6)
    scaled = class_closeness(words * word_lengths[:, None], classes * class_lengths[:, None])
    np.testing.assert_allclose(scaled, class_closeness(words, classes), atol=1e-6)


@given(stacked(1), stacked(1), st.integers(1, 100), st.integers(1, 100))
def test_a_larger_share_only_adds(words, classes, a, b):
    small, large = sorted([a / 100, b / 100])
    kept = neglabel_pool(words, classes, small)
    assert set(kept) <= set(neglabel_pool(words, classes, large))
    assert len(kept) == len(words) * min(a, b) // 100
    assert kept.tolist() == sorted(set(kept.tolist()))


def test_equally_close_words_are_kept_first_come():
    words = np.ones((10, 2))
    assert neglabel_pool(words, [[1.0, 0.0]], share=0.3).tolist() == [0, 1, 2]


def test_words_far_from_all_classes_are_kept():
    classes = np.eye(4)[:2]
    words = np.array([[1.0, 0.1, 0, 0], [0, 0, 1, 0], [0.5, 1, 0, 0], [0, 0, 0.2, 1]])
    assert neglabel_pool(words, classes, share=0.5).tolist() == [1, 3]


def test_a_word_like_one_class_of_many_survives():
    # NegLabel's 0.95 quantile overlooks the nearest twentieth of the classes, on purpose.
    classes = np.eye(60)
    like_one, like_all = np.eye(60)[0], np.ones(60)
    assert neglabel_pool([like_one, like_all], classes, share=0.5).tolist() == [0]
    assert neglabel_pool([like_one, like_all], classes, share=0.5, quantile=1.0).tolist() == [1]


def vocabulary(nouns, adjectives):
    return [Word(f"noun {i}", "noun", "noun.act") for i in range(nouns)] + [
        Word(f"adjective {i}", "adjective", "adj.all") for i in range(adjectives)
    ]


def test_nouns_and_adjectives_are_ranked_apart():
    # All adjectives are closer to the class than all nouns, yet keep their share.
    angles = np.r_[np.linspace(1.0, 1.5, 20), np.linspace(0.1, 0.5, 10)]
    words = np.c_[np.cos(angles), np.sin(angles)]
    kept = mine_negatives(vocabulary(20, 10), words, [[1.0, 0.0]], share=0.2)
    assert kept.tolist() == [16, 17, 18, 19, 28, 29]


@given(st.permutations(range(50)))
def test_mining_keeps_the_same_words_in_any_order(order):
    words, of_words, classes = vocabulary(30, 20), features(9, 50), features(10, 8)
    exclude = ["NOUN_3", "adjective  7"]
    kept = mine_negatives(words, of_words, classes, share=0.3, exclude=exclude)
    mixed = mine_negatives(
        [words[i] for i in order], of_words[order], classes, share=0.3, exclude=exclude
    )
    assert sorted(np.array(order)[mixed]) == kept.tolist()


def test_mining_equals_the_twin_of_each_part_of_speech():
    words, of_words, classes = vocabulary(60, 40), features(11, 100), features(12, 30)
    nouns = twin(of_words[:60], classes, 0.15, 0.95)[1]
    adjectives = [60 + row for row in twin(of_words[60:], classes, 0.15, 0.95)[1]]
    kept = mine_negatives(words, of_words, classes)
    assert kept.dtype == np.int64
    assert kept.tolist() == nouns + adjectives


def test_class_names_can_be_excluded_and_are_kept_otherwise():
    words = [Word(text, "noun", "") for text in ("rain barrel", "crane", "teapot", "gold")]
    far = np.array([[0.0, 1.0]] * 4)
    names = ["Rain_Barrel", "  crane "]
    assert mine_negatives(words, far, [[1.0, 0.0]], 1.0, exclude=names).tolist() == [2, 3]
    assert mine_negatives(words, far, [[1.0, 0.0]], 1.0).tolist() == [0, 1, 2, 3]
    # The share is taken of what is left.
    assert mine_negatives(words, far, [[1.0, 0.0]], 0.5, exclude=names).tolist() == [2]


def test_nothing_to_choose_from_gives_nothing():
    assert mine_negatives([], np.empty((0, 2)), [[1.0, 0.0]]).tolist() == []
    assert neglabel_pool(np.empty((0, 2)), [[1.0, 0.0]]).dtype == np.int64


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"share": 0.0}, r"share: 0.0 is not in \(0, 1\]"),
        ({"share": 15}, "share: 15 is not"),
        ({"quantile": 1.5}, r"quantile: 1.5 is not in \[0, 1\]"),
        ({"class_features": np.empty((0, 2))}, "class_features: no rows"),
        ({"class_features": np.ones((1, 3))}, "candidate_features: 2 columns, class_features 3"),
        ({"candidate_features": np.zeros((1, 2))}, "candidate_features: row 0 has length 0"),
    ],
)
def test_unusable_input_is_refused_in_a_sentence(changes, words):
    good = {"candidate_features": np.ones((4, 2)), "class_features": np.ones((1, 2))}
    with pytest.raises(InputError, match=words):
        neglabel_pool(**{**good, **changes})


@pytest.mark.parametrize("max_similarity", [0.2, 0.3, 0.95])
def test_words_too_like_a_class_are_pushed_out_as_csp_does_it(max_similarity):
    words, classes = features(13, 300), features(14, 40)
    unit = [torch.nn.functional.normalize(torch.from_numpy(rows)) for rows in (words, classes)]
    similarity = unit[0] @ unit[1].T
    closeness = torch.quantile(similarity, 0.95, dim=1)
    closeness[similarity.max(dim=1)[0] > max_similarity] = 1.0  # its multi_modal.py:153-156
    expected = torch.argsort(closeness)[: int(300 * 0.15)]
    expected = [row for row in expected.tolist() if closeness[row] < 1.0]
    kept = neglabel_pool(words, classes, max_similarity=max_similarity)
    assert kept.tolist() == sorted(expected)
    assert (kept.tolist() != neglabel_pool(words, classes).tolist()) == (max_similarity < 0.9)


@given(st.floats(-1, 1), st.integers(1, 100))
def test_no_kept_word_is_above_the_largest_similarity(max_similarity, percent):
    words, classes = features(15, 60), features(16, 5)
    kept = neglabel_pool(words, classes, percent / 100, max_similarity=max_similarity)
    assert len(kept) <= 60 * percent // 100
    assert (class_closeness(words, classes, 1.0)[kept] <= max_similarity).all()


def test_words_and_features_must_belong_together():
    with pytest.raises(InputError, match="word_features: 3 rows for 2 words"):
        mine_negatives(vocabulary(1, 1), np.ones((3, 2)), np.ones((1, 2)))
