"""Scores and features of any kind give what the same numbers give as NumPy arrays."""

from __future__ import annotations

from array import array
from fractions import Fraction

import numpy as np
import pytest
import torch

from synood import metrics, scores
from synood.arrays import to_numpy
from synood.detector.calibration import calibrate_threshold
from synood.errors import InputError
from synood.tuning.assignment import nearest_negative
from synood.tuning.projection import Projection

NUMBERS = (0.25, 1.5, -2.0, 3.0)  # exact in every precision


class Series:
    """What pandas, JAX and others give NumPy."""

    def __init__(self, values):
        self._values = np.asarray(values)

    def __array__(self, dtype=None, copy=None):
        return self._values


def tensor(values, dtype=torch.float32):
    return torch.tensor(values, dtype=dtype)


KINDS = {
    "list": list,
    "tuple": tuple,
    "array": lambda values: array("d", values),
    "reversed view": lambda values: np.array(values[::-1])[::-1],
    "series": Series,
    "masked array without a mask": np.ma.array,
    "tensor": tensor,
    "tensor with gradient": lambda values: tensor(values).requires_grad_(),
    "result of a gradient": lambda values: tensor(values).requires_grad_() * 1,
    "parameter": lambda values: torch.nn.Parameter(tensor(values)),
    "bfloat16": lambda values: tensor(values, torch.bfloat16),
    "bfloat16 with gradient": lambda values: tensor(values, torch.bfloat16).requires_grad_(),
    "float16": lambda values: tensor(values, torch.float16),
    "float8": lambda values: tensor(values).to(torch.float8_e4m3fn),
    "negated view": lambda values: torch._neg_view(-tensor(values)),
    "list of tensors": lambda values: [tensor(value) for value in values],
    "list of tensors with gradient": lambda values: [tensor(v).requires_grad_() for v in values],
    "tuple of bfloat16": lambda values: tuple(tensor(v, torch.bfloat16) for v in values),
    "numbers and tensors": lambda values: [values[0], *map(tensor, values[1:])],
    "list of arrays": lambda values: [np.array(value) for value in values],
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_array_gives_the_same_numbers(kind):
    found = to_numpy(KINDS[kind](NUMBERS), "scores")
    assert type(found) is np.ndarray
    assert found.tolist() == list(NUMBERS)


@pytest.mark.parametrize("kind", KINDS)
def test_metrics_take_every_kind_of_array(kind):
    ids, oods = KINDS[kind](NUMBERS), KINDS[kind](NUMBERS[:2])
    plain = list(NUMBERS), list(NUMBERS[:2])
    for metric in (
        metrics.auroc,
        metrics.aupr,
        metrics.fpr_at_tpr,
        metrics.ood_metrics,
        metrics.full_metrics,
        metrics.delong_interval,
        lambda a, b: metrics.bootstrap_interval(a, b, resamples=3),
        lambda a, b: metrics.delong_test((a, b), (a, b)),
        lambda a, b: metrics.bootstrap_test((a, b), (a, b), resamples=3),
        lambda a, b: metrics.ood_metrics_by_set(a, {"one": b}),
        lambda a, b: metrics.aurc_with_ood(a, [1, 0, 1, 1], b),
    ):
        assert metric(ids, oods) == metric(*plain)


ROWS = ((0.5, 1.0, 0.25), (0.125, -1.0, 2.0), (1.0, 0.5, 0.5), (-0.5, 0.75, 1.0))
PATCHES = tuple((row, row[::-1]) for row in ROWS)


def every_score(make):
    rows, patches, bias = make(ROWS), make(PATCHES), make(NUMBERS)
    return [
        scores.msp(rows),
        scores.energy(rows),
        scores.neglabel(rows, rows),
        scores.NegLabelScorer.from_features(rows, rows)(rows),
        scores.gl_mcm(rows, patches),
        scores.energy(scores.linear(rows, rows, bias)),
        scores.gradnorm(rows, rows),
        scores.ClassMeans.fit(rows, make((0, 0, 1, 1))).rbf(rows),
    ]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "array"])
def test_scores_take_every_kind_of_array(kind):
    for found, expected in zip(every_score(KINDS[kind]), every_score(list), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "array"])
def test_thresholds_assignments_and_projections_take_every_kind_of_array(kind):
    rows, numbers = KINDS[kind](ROWS), KINDS[kind](NUMBERS)
    assert calibrate_threshold(numbers, 0.5) == calibrate_threshold(NUMBERS, 0.5)
    assert nearest_negative(rows, rows).tolist() == nearest_negative(ROWS, ROWS).tolist()
    zero, one = np.zeros(3, np.float32), np.ones(3, np.float32)
    projection = Projection(np.eye(3, dtype=np.float32), zero, one, zero, 1e-5)
    np.testing.assert_array_equal(projection.apply(rows), projection.apply(ROWS))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.ma.array(NUMBERS, mask=[0, 1, 1, 0]), "scores: 2 of 4 values are masked; leave them"),
        ([np.ma.array([1.0], mask=[1]), [2.0]], "scores: 1 of 1 values are masked"),
        (torch.empty(3, device="meta"), r"scores: not an array of numbers \("),
        (torch.eye(2).to_sparse(), r"scores: not an array of numbers \("),
        ([torch.ones(2), torch.ones(3)], r"scores: not an array of numbers \("),
    ],
)
def test_what_has_no_numbers_is_refused_by_name(values, words):
    with pytest.raises(InputError, match=words):
        to_numpy(values, "scores")


@pytest.mark.parametrize(
    "values", [["a"], [None], [Fraction(1, 2)], tensor([1], torch.complex64), {"a": 1}, iter([1])]
)
def test_what_is_not_real_is_refused_by_the_metrics(values):
    with pytest.raises(InputError, match=r"id_scores: (dtype|shape)"):
        metrics.auroc(values, [1.0])
