"""Compares methods, with intervals over test images and seeds.

The uncertainty over images comes from a paired bootstrap, that over seeds from Student's interval:
resampling three seeds with replacement would greatly underestimate their spread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from synood import metrics
from synood.benchmark.results.results import LOWER_IS_BETTER
from synood.benchmark.results.tables import estimate
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synood.benchmark.results.tables import Column

MEASURES = ("auroc", "fpr95")

Verdict = Literal["better", "worse", "even"]


@dataclass(frozen=True)
class SeedScores:
    """The scores of one method under one seed: in-distribution (N,), and (M,) per OOD set.

    A test-time method scores the in-distribution images again with each OOD set: `id_by_set` then
    holds these scores by set, `in_distribution` those with the first set, and `streams` what a row
    records of each stream.
    """

    seed: int
    in_distribution: np.ndarray
    ood: Mapping[str, np.ndarray]
    id_by_set: Mapping[str, np.ndarray] = field(default_factory=dict)
    streams: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def sides(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the in-distribution (N,) and OOD (M,) scores of one set."""
        return self.id_by_set.get(name, self.in_distribution), self.ood[name]


@dataclass(frozen=True)
class Comparison:
    """How much better `method` is than `other`, averaged over the sets of one column.

    `gain` is a fraction, positive if `method` is better, whatever the metric's direction; `low`
    and `high` are its 95 % interval.
    """

    method: str
    other: str
    metric: str
    column: str
    gain: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """Better or worse only if the whole interval is on one side of zero."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "even"


def compare(
    method: str,
    others: Sequence[str],
    scores: Mapping[str, Sequence[SeedScores]],
    columns: Sequence[Column],
    resamples: int = 200,
    seed: int = 0,
) -> list[Comparison]:
    """Compare `method` with each of `others` on AUROC and FPR95 in each column.

    The comparison is paired: each resample draws the same images for all methods, and methods with
    the same seeds are compared seed by seed. A method with one seed is taken to be deterministic.
    """
    _check_same_images({name: scores[name][0] for name in (method, *others)})
    sets = tuple(scores[method][0].ood)
    measured = {name: _measure(scores[name], sets, resamples, seed) for name in (method, *others)}
    compared = []
    for other in others:
        for column in columns:
            where = [sets.index(name) for name in column.sets]
            for metric in MEASURES:
                sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
                ours, theirs = (
                    sign * measured[name][metric][:, :, where].mean(2) for name in (method, other)
                )
                ends = _interval(ours, theirs)
                compared.append(Comparison(method, other, metric, column.key, *ends))
    return compared


def _interval(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    """Return gain, low and high from (1 + resamples, seeds) of each side, row 0 not resampled."""
    gains = ours.mean(1) - theirs.mean(1)
    gain = float(gains[0])
    low, high = (float(end) for end in np.quantile(gains[1:], [0.025, 0.975]))
    seeds = _seed_half_width(ours[0], theirs[0])
    below, above = max(0.0, gain - low), max(0.0, high - gain)
    return gain, gain - math.hypot(below, seeds), gain + math.hypot(above, seeds)


def _seed_half_width(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return Student's half-width of the mean difference over seeds, 0 if both have one seed."""
    if len(ours) == len(theirs):
        return estimate((ours - theirs).tolist()).half_width or 0.0
    return math.hypot(*(estimate(side.tolist()).half_width or 0.0 for side in (ours, theirs)))


def _measure(
    scores: Sequence[SeedScores], sets: Sequence[str], resamples: int, seed: int
) -> dict[str, np.ndarray]:
    """Return metric -> (1 + resamples, seeds, sets); entry 0 is the images without resampling."""
    rng = np.random.default_rng(seed)
    id_size = len(scores[0].in_distribution)
    values = {name: np.empty((1 + resamples, len(scores), len(sets))) for name in MEASURES}
    ranks = [[metrics.ranks_of(*item.sides(name)) for item in scores] for name in sets]
    for draw in range(1 + resamples):
        id_indices = _indices(id_size, draw, rng)
        for column, name in enumerate(sets):
            ood_indices = _indices(len(scores[0].ood[name]), draw, rng)
            for row, of_seed in enumerate(ranks[column]):
                for metric in MEASURES:
                    values[metric][draw, row, column] = metrics.resampled_metric(
                        of_seed, metric, id_indices, ood_indices
                    )
    return values


def _indices(size: int, draw: int, rng: np.random.Generator) -> np.ndarray:
    return np.arange(size) if draw == 0 else rng.integers(size, size=size)


def _check_same_images(first: Mapping[str, SeedScores]) -> None:
    sizes = {
        name: (len(item.in_distribution), {key: len(value) for key, value in item.ood.items()})
        for name, item in first.items()
    }
    names = list(sizes)
    for name in names[1:]:
        if sizes[name] != sizes[names[0]]:
            raise InputError(f"compare: {names[0]} and {name} were not scored on the same images")
