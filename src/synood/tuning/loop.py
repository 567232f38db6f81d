"""The training loop: arrays checked, batches shuffled, the learning rate half a cosine."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from synood.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Tensor

Callback = Callable[[int, int, float], None]


class Settings(Protocol):
    """What the loop asks of a tuning's settings."""

    @property
    def epochs(self) -> int:
        """Passes over the rows."""

    @property
    def min_steps(self) -> int | None:
        """Steps to make at least, however few the rows."""

    @property
    def batch_size(self) -> int:
        """Rows of a step."""

    @property
    def learning_rate(self) -> float:
        """Rate of the first step."""

    @property
    def final_learning_rate(self) -> float:
        """Rate that the cosine falls to."""


def as_features(name: str, values: ArrayLike, dim: int | None = None) -> Tensor:
    """Copy features (N, D) into a float32 tensor; another shape and NaN are an `InputError`."""
    array = np.array(values, dtype=np.float32)
    if array.ndim != 2 or 0 in array.shape or dim not in (None, array.shape[1]):
        raise InputError(f"{name}: need shape (N, {dim or 'D'}) and N > 0, not {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"{name}: hold numbers that are not finite")
    return torch.from_numpy(array)


def as_targets(name: str, values: ArrayLike, rows: int, classes: int) -> Tensor:
    """Copy class numbers (N,) into an int64 tensor; wrong ones are an `InputError`."""
    array = np.array(values, dtype=np.int64)
    if array.shape != (rows,):
        raise InputError(f"{name}: need one for each of {rows} features, not shape {array.shape}")
    if array.min() < 0 or array.max() >= classes:
        raise InputError(
            f"{name}: {array.min()} to {array.max()} do not all name one of {classes} rows"
        )
    return torch.from_numpy(array)


def epoch_count(rows: int, settings: Settings) -> int:
    """Return the epochs, more than those asked for when they make fewer than `min_steps` steps."""
    per_epoch = math.ceil(rows / settings.batch_size)
    return max(settings.epochs, math.ceil((settings.min_steps or 0) / per_epoch))


def cosine_rate(epoch: int, epochs: int, settings: Settings) -> float:
    """Return the rate of an epoch, from 0: half a cosine that reaches the final rate at the end."""
    low, high = settings.final_learning_rate, settings.learning_rate
    return low + (high - low) * (1 + math.cos(math.pi * epoch / epochs)) / 2


def minimise(
    loss_of: Callable[[Tensor], Tensor],
    optimiser: torch.optim.Optimizer,
    rows: int,
    settings: Settings,
    seed: int,
    callback: Callback | None = None,
    after_epoch: Callable[[int], None] | None = None,
) -> None:
    """Step down `loss_of(rows of a batch)` for all epochs; the last batch may be smaller.

    The order is that of numpy's `default_rng(seed)`, one permutation an epoch. `callback` gets
    (step, steps in all, loss) after each step, `after_epoch` the number of epochs done.
    """
    if settings.batch_size < 1 or settings.epochs < 0:
        raise InputError("tuning: batch_size must be at least 1 and epochs at least 0")
    epochs = epoch_count(rows, settings)
    steps, step = epochs * math.ceil(rows / settings.batch_size), 0
    shuffle = np.random.default_rng(seed)
    for epoch in range(epochs):
        for group in optimiser.param_groups:
            group["lr"] = cosine_rate(epoch, epochs, settings)
        order = torch.from_numpy(shuffle.permutation(rows))
        for start in range(0, rows, settings.batch_size):
            loss = loss_of(order[start : start + settings.batch_size])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            step += 1
            _report(callback, step, steps, loss.item())
        if after_epoch is not None:
            after_epoch(epoch + 1)


def _report(callback: Callback | None, step: int, steps: int, loss: float) -> None:
    if not math.isfinite(loss):
        raise InputError(f"tuning: the loss is {loss} at step {step}; lower the learning_rate")
    if callback is not None:
        callback(step, steps, loss)
