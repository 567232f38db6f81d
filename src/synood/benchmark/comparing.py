"""Is one method better than another here? A paired bootstrap over the test images and the seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from synood import metrics
from synood.benchmark.results import LOWER_IS_BETTER
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from synood.benchmark.tables import Column

MEASURES: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "auroc": metrics.auroc,
    "fpr95": metrics.fpr_at_tpr,
}

Verdict = Literal["better", "worse", "even"]


@dataclass(frozen=True)
class SeedScores:
    """The scores of one method under one seed: in-distribution (N,), and (M,) per OOD set."""

    seed: int
    in_distribution: np.ndarray
    ood: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Comparison:
    """How much better `method` is than `other`, averaged over the sets of one column.

    `gain` is a fraction and positive when `method` is better, whatever the metric's direction;
    `low` and `high` bound it at 95 %.
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
        """Better or worse only where the whole interval lies on one side of zero."""
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

    Each resample draws the test images of every set with replacement, the same ones for all
    methods, and the seeds, the same ones where two methods have as many; so an interval holds
    only what pictures and seeds do not share between the two.
    """
    _check_same_images({name: scores[name][0] for name in (method, *others)})
    sets = tuple(scores[method][0].ood)
    measured = {name: _measure(scores[name], sets, resamples, seed) for name in (method, *others)}
    rng = np.random.default_rng(seed)
    picks = {
        len(scores[name]): rng.integers(len(scores[name]), size=(resamples, len(scores[name])))
        for name in (method, *others)
    }
    compared = []
    for other in others:
        for column in columns:
            where = [sets.index(name) for name in column.sets]
            for metric in MEASURES:
                ours = _spread(measured[method][metric][:, :, where].mean(2), picks)
                theirs = _spread(measured[other][metric][:, :, where].mean(2), picks)
                sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
                gains = sign * (ours - theirs)
                low, high = np.quantile(gains[1:], [0.025, 0.975])
                gain, low, high = float(gains[0]), float(low), float(high)
                compared.append(Comparison(method, other, metric, column.key, gain, low, high))
    return compared


def _measure(
    scores: Sequence[SeedScores], sets: Sequence[str], resamples: int, seed: int
) -> dict[str, np.ndarray]:
    """Return metric -> (1 + resamples, seeds, sets); the first entry is the images as they are."""
    rng = np.random.default_rng(seed)
    id_size = len(scores[0].in_distribution)
    values = {name: np.empty((1 + resamples, len(scores), len(sets))) for name in MEASURES}
    for draw in range(1 + resamples):
        id_picks = _picks(id_size, draw, rng)
        for column, name in enumerate(sets):
            ood_picks = _picks(len(scores[0].ood[name]), draw, rng)
            for row, item in enumerate(scores):
                sides = item.in_distribution[id_picks], item.ood[name][ood_picks]
                for metric, measure in MEASURES.items():
                    values[metric][draw, row, column] = measure(*sides)
    return values


def _picks(size: int, draw: int, rng: np.random.Generator) -> np.ndarray:
    return np.arange(size) if draw == 0 else rng.integers(size, size=size)


def _spread(by_seed: np.ndarray, picks: Mapping[int, np.ndarray]) -> np.ndarray:
    """Average (1 + resamples, seeds) over the seeds picked in each resample; first over all."""
    seeds = by_seed.shape[1]
    resampled = np.take_along_axis(by_seed[1:], picks[seeds], axis=1).mean(1)
    return np.concatenate([by_seed[:1].mean(1), resampled])


def _check_same_images(first: Mapping[str, SeedScores]) -> None:
    sizes = {
        name: (len(item.in_distribution), {key: len(value) for key, value in item.ood.items()})
        for name, item in first.items()
    }
    names = list(sizes)
    for name in names[1:]:
        if sizes[name] != sizes[names[0]]:
            raise InputError(f"compare: {names[0]} and {name} were not scored on the same images")
