"""What the trained systems share: labelled features, a schedule, recorded losses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synood.benchmark.protocol.encoding import EncodedSet

SHOTS = 16  # of each class: CoOp, CoCoOp and LoCoOp


@dataclass(frozen=True)
class Schedule:
    """Epochs over shuffled batches, with a cosine learning rate."""

    epochs: int
    batch_size: int
    learning_rate: float
    final_learning_rate: float = 0.0
    min_steps: int | None = None


@dataclass
class Losses:
    """Records the losses of a training."""

    values: list[float] = field(default_factory=list)

    def __call__(self, step: int, steps: int, loss: float) -> None:
        """Record a loss: the callback of a training."""
        self.values.append(loss)

    def to_json(self) -> dict[str, float]:
        """Return the first and the last loss, each averaged over a tenth of the steps."""
        some = max(1, len(self.values) // 10)
        first, last = self.values[:some], self.values[-some:]
        return {"first": sum(first) / some, "last": sum(last) / some}


def labelled(train: EncodedSet) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the images' features (N, D), of unit length, and classes (N,).

    A set without labels is an `InputError`, and so is an image without one.
    """
    if train.labels is None or (train.labels < 0).any():
        raise InputError(f"set {train.name!r}: has no class labels to learn from")
    return scores.normalise(train.features), train.labels


def few_shots(
    train: EncodedSet, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], EncodedSet]:
    """Draw up to `SHOTS` images of each class: unit features (N, D), classes (N,), the set."""
    _, labels = labelled(train)
    order = np.random.default_rng(seed).permutation(len(labels))
    drawn = [order[labels[order] == label][:SHOTS] for label in np.unique(labels)]
    shots = train.take(np.sort(np.concatenate(drawn)))
    return *labelled(shots), shots


def class_labels(train: EncodedSet) -> NDArray[np.int64]:
    """Return the images' class numbers (N,), -1 where an image has none.

    A set without labels is an `InputError`.
    """
    if train.labels is None:
        raise InputError(f"set {train.name!r}: has no class labels to learn from")
    return train.labels
