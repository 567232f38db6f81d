"""OpenMax: the probability of an unknown class, from the distances to the classes' mean logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synood.arrays import to_numpy
from synood.errors import InputError
from synood.scores._rows import by_rows, check_widths, checked

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Doubles = NDArray[np.float64]

# libMR adds this to distances before it fits, so that its Weibull distribution (which starts at 0)
# is in effect a Gumbel distribution of the distances (MetaRecognition.cpp, translate_amount).
SHIFT = 10_000.0
TAIL = 20  # largest distances of each class: OpenOOD, openmax_postprocessor.py:18
REVISED = 3  # alpha: likeliest classes whose logits are reduced; ibid., line 16


@dataclass(frozen=True, eq=False)
class OpenMax:
    """OpenMax (Bendale and Boult, CVPR 2016) on logits, with the Euclidean distance.

    `means` (C, C) are the mean logits of each class's rightly named training images; `least`,
    `shape` and `scale` (C,) the smallest distance of a class's tail and its Weibull distribution.
    """

    means: Doubles
    least: Doubles
    shape: Doubles
    scale: Doubles

    @classmethod
    def fit(cls, logits: ArrayLike, labels: ArrayLike, tail: int = TAIL) -> OpenMax:
        """Fit to training images with (N, C) logits and classes (N,).

        Where no image of a class is named rightly, all of its images are used; a class without
        images is an `InputError`.
        """
        outputs = checked(logits, "logits").astype(np.float64)
        classes = to_numpy(labels, "labels")
        if classes.shape != (len(outputs),):
            raise InputError(f"labels: shape {classes.shape} for {len(outputs)} images")
        if tail < 1:
            raise InputError(f"tail: {tail} is below 1")
        right = outputs.argmax(axis=1) == classes
        means, fits = [], []
        for label in range(outputs.shape[1]):
            own = classes == label
            if not own.any():
                raise InputError(f"labels: class {label} has no training image to measure from")
            rows = outputs[own & right if (own & right).any() else own]
            mean = rows.mean(axis=0)
            distances = np.sort(np.linalg.norm(rows - mean, axis=1))[-tail:]
            means.append(mean)
            fits.append((distances[0], *_weibull(distances - distances[0] + SHIFT)))
        least, shape, scale = np.array(fits).T
        return cls(np.stack(means), least, shape, scale)

    def score(self, logits: ArrayLike, revised: int = REVISED) -> NDArray[np.float32]:
        """Minus the log probability of the unknown class (M,) for (M, C) logits, at least 0.

        `revised` is alpha, at most the number of classes.
        """
        outputs = checked(logits, "logits")
        check_widths(outputs, self.means, "logits", "the class means")
        count = min(revised, outputs.shape[1])
        if count < 1:
            raise InputError(f"revised: {revised} is below 1")
        return by_rows(outputs, lambda block: self._score(block.astype(np.float64), count))

    def _score(self, block: Doubles, count: int) -> Doubles:
        lengths = np.stack([np.linalg.norm(block - mean, axis=1) for mean in self.means], axis=1)
        weights = np.zeros_like(block)
        likeliest = np.argsort(-block, axis=1, kind="stable")[:, :count]
        ranks = (count - np.arange(count)) / count  # 1, (alpha - 1) / alpha, ...
        np.put_along_axis(weights, likeliest, np.tile(ranks, (len(block), 1)), axis=1)
        taken = block * weights * self._beyond(lengths)
        both = np.concatenate([block - taken, taken.sum(axis=1, keepdims=True)], axis=1)
        top = both.max(axis=1)
        total = top + np.log(np.exp(both - top[:, None]).sum(axis=1))
        found: Doubles = total - both[:, -1]
        return found

    def _beyond(self, distances: Doubles) -> Doubles:
        """Share of the tail of each class that is nearer than (M, C) distances."""
        moved = np.maximum(distances - self.least + SHIFT, 0.0)
        beyond: Doubles = -np.expm1(-((moved / self.scale) ** self.shape))
        return beyond


def _weibull(values: NDArray[Any]) -> tuple[float, float]:
    """Shape and scale of greatest likelihood for positive values, by bisection on the shape.

    Equal values have no finite shape; they get one so steep that it is a step.
    """
    logs = np.log(values)
    steepest = 1e9

    def excess(shape: float) -> float:
        powers = np.exp(shape * (logs - logs.max()))
        return float((powers * logs).sum() / powers.sum() - 1 / shape - logs.mean())

    low, high = 1e-3, steepest
    if excess(high) > 0:
        for _ in range(200):
            middle = float(np.sqrt(low * high))
            low, high = (low, middle) if excess(middle) > 0 else (middle, high)
    shape = float(np.sqrt(low * high)) if high < steepest else steepest
    powers = np.exp(shape * (logs - logs.max()))
    return shape, float(np.exp(logs.max() + np.log(powers.mean()) / shape))
