"""Scores -> integer counts of both sides per distinct score, from which every metric follows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from synood.arrays import to_numpy
from synood.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Counts: TypeAlias = "NDArray[np.int64]"
Side = Literal["id", "ood"]


@dataclass(frozen=True, eq=False)
class Curve:
    """Counts of positives and negatives per distinct score, from the most positive score down."""

    positive: Counts
    negative: Counts

    @cached_property
    def tps(self) -> Counts:
        """True positives when each distinct score is the threshold."""
        return np.cumsum(self.positive)

    @cached_property
    def fps(self) -> Counts:
        """False positives when each distinct score is the threshold."""
        return np.cumsum(self.negative)

    @property
    def n_positive(self) -> int:
        return int(self.tps[-1])

    @property
    def n_negative(self) -> int:
        return int(self.fps[-1])

    def with_positive(self, side: Side) -> Curve:
        """Return the curve with `side` as the positive class; a new curve has ID as positive."""
        if side == "id":
            return self
        if side == "ood":
            return Curve(self.negative[::-1], self.positive[::-1])
        raise InputError(f"positive: {side!r} is not 'id' or 'ood'")


def curve_of(id_scores: ArrayLike, ood_scores: ArrayLike) -> Curve:
    """Count both sides per distinct score, with ID as the positive class."""
    return curve_of_sorted(sorted_scores(id_scores, "id_scores"), ood_scores)


def sorted_scores(scores: ArrayLike, name: str) -> NDArray[Any]:
    """Check (N,) scores and sort them in ascending order."""
    return np.sort(checked(scores, name))


def curve_of_sorted(
    id_sorted: NDArray[Any], ood_scores: ArrayLike, name: str = "ood_scores"
) -> Curve:
    """Count both sides as `curve_of` does, for ID scores already checked and sorted."""
    ids, oods = comparable(id_sorted, checked(ood_scores, name))
    joined = np.concatenate([ids, np.sort(oods)])
    order = np.argsort(joined, kind="stable")  # merges two sorted runs in linear time
    values = joined[order]
    ends = np.append(np.flatnonzero(values[1:] != values[:-1]), values.size - 1)
    id_until = np.cumsum(order < ids.size)[ends]
    ood_until = ends + 1 - id_until
    return Curve(np.diff(id_until, prepend=0)[::-1], np.diff(ood_until, prepend=0)[::-1])


@dataclass(frozen=True, eq=False)
class Ranks:
    """Rank of each sample among the distinct scores of both sides; the highest score has rank 0.

    Samples keep their order, so the same indices resample the same images for every method.
    """

    ids: Counts
    oods: Counts
    n_distinct: int

    def resampled(self, id_indices: Counts, ood_indices: Counts) -> Curve:
        """Return the curve of a resample, given the indices drawn on each side."""
        return Curve(
            np.bincount(self.ids[id_indices], minlength=self.n_distinct),
            np.bincount(self.oods[ood_indices], minlength=self.n_distinct),
        )


def ranks_of(id_scores: ArrayLike, ood_scores: ArrayLike) -> Ranks:
    """Rank the samples of both sides among their distinct scores."""
    ids, oods = comparable(checked(id_scores, "id_scores"), checked(ood_scores, "ood_scores"))
    distinct, ascending = np.unique(np.concatenate([ids, oods]), return_inverse=True)
    ranks = distinct.size - 1 - ascending
    return Ranks(ranks[: ids.size], ranks[ids.size :], distinct.size)


def checked(scores: ArrayLike, name: str) -> NDArray[Any]:
    """Return (N,) real scores without NaN, with unchanged values."""
    array = to_numpy(scores, name)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name}: dtype {array.dtype} is not real; give one real number a sample")
    if array.ndim != 1:
        raise InputError(f"{name}: shape {array.shape} is not (N,); give one score a sample")
    if array.size == 0:
        raise InputError(f"{name}: empty; give at least one score")
    missing = int(np.isnan(array).sum())
    if missing:
        raise InputError(f"{name}: {missing} of {array.size} scores are NaN; leave them out")
    return array


def comparable(a: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Cast both arrays to one dtype without changing any value."""
    common = np.result_type(a, b)
    if all(_fits(array, common) for array in (a, b)):
        return a.astype(common, copy=False), b.astype(common, copy=False)
    return a.astype(object), b.astype(object)  # Python compares int and float exactly


def _fits(array: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    """Return whether the cast keeps all values: a mantissa is too short for large integers."""
    if array.dtype.kind not in "iu" or dtype.kind != "f":
        return True
    limit = 1 << (int(np.finfo(dtype).nmant) + 1)
    return -limit <= int(array.min()) <= int(array.max()) <= limit
