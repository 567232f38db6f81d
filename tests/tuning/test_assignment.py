"""Each image gets the negative label of highest cosine, whatever the lengths and however many."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from synood.errors import InputError
from synood.tuning.assignment import compact, nearest_negative

pytestmark = pytest.mark.numerical

assignments = arrays(np.int64, st.integers(0, 40), elements=st.integers(0, 60))


def by_hand(images, negatives):
    """Angles one pair at a time, in double precision."""
    nearest = []
    for image in images.astype(float):
        cosines = [
            sum(a * b for a, b in zip(image, negative, strict=True))
            / (math.hypot(*image) * math.hypot(*negative))
            for negative in negatives.astype(float)
        ]
        nearest.append(cosines.index(max(cosines)))
    return nearest


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 7), st.integers(2, 5))
def test_equals_angles_computed_pair_by_pair(seed, images, negatives, dim):
    rng = np.random.default_rng(seed)
    image_features = rng.normal(size=(images, dim)).astype(np.float32)
    negative_features = rng.normal(size=(negatives, dim)).astype(np.float32)

    nearest = nearest_negative(image_features, negative_features)

    assert nearest.dtype == np.int64
    assert nearest.tolist() == by_hand(image_features, negative_features)


def test_lengths_do_not_count():
    rng = np.random.default_rng(1)
    images, negatives = rng.normal(size=(50, 8)), rng.normal(size=(20, 8))
    long = negatives * rng.uniform(0.01, 100, size=(20, 1))

    assert (nearest_negative(images, negatives) == nearest_negative(7 * images, long)).all()


def test_more_images_than_one_block():
    rng = np.random.default_rng(2)
    images, negatives = rng.normal(size=(2500, 4)), rng.normal(size=(11, 4))

    whole = nearest_negative(images, negatives)

    pieces = [nearest_negative(images[i : i + 1], negatives)[0] for i in range(0, 2500, 83)]
    assert whole[::83].tolist() == pieces


def test_of_equal_negatives_the_first_wins():
    assert nearest_negative([[1, 1]], [[-1, 0], [2, 2], [1, 1], [3, 3]]).tolist() == [1]


def test_no_images_are_no_error_but_no_negatives_are():
    assert nearest_negative(np.zeros((0, 3)), np.ones((2, 3))).tolist() == []
    with pytest.raises(InputError, match="negative features: there are none"):
        nearest_negative(np.ones((2, 3)), np.zeros((0, 3)))


def test_a_feature_without_direction_is_refused():
    with pytest.raises(InputError, match="no direction"):
        nearest_negative([[0, 0]], [[1, 0]])


@given(assignments)
def test_compact_names_each_used_row_once_and_leads_back(assignment):
    used, targets = compact(assignment)

    assert used.tolist() == sorted(set(assignment.tolist()))
    assert (used[targets] == assignment).all()
    assert (used.dtype, targets.dtype) == (np.int64, np.int64)
