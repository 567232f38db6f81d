"""Features learned beside those of the class names, from training images alone.

LSN learns prompts through the text tower, CLIPN a second text tower on three million captions.
Here the features themselves are learned: losses and scores are in the papers' style, what they act
on is smaller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood.benchmark.systems._training import Losses, Schedule, labelled
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs

    Floats = NDArray[np.float32]

START = 0.02  # CoOp's spread of what is drawn at the start
SCHEDULE = Schedule(epochs=20, batch_size=128, learning_rate=1e-2, min_steps=200)  # ours


def tensors_of(inputs: FitInputs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return unit image features (N, D), labels (N,) and class features (C, D)."""
    import torch

    images, labels = labelled(inputs.train)
    if len(inputs.class_names) < 2:
        raise InputError("needs two classes or more: what a class is not is learned from others")
    return (
        torch.from_numpy(images),
        torch.from_numpy(labels),
        torch.from_numpy(inputs.class_features),
    )


def descend(
    loss_of: Callable[[torch.Tensor], torch.Tensor],
    learned: torch.Tensor,
    rows: int,
    seed: int,
    losses: Losses,
) -> None:
    """Minimise a loss over the training images by Adam."""
    import torch

    from synood.tuning.loop import minimise

    adam = torch.optim.Adam([learned], lr=SCHEDULE.learning_rate)
    minimise(loss_of, adam, rows, SCHEDULE, seed, losses)


def softmax(similar: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Softmax of cosines (N, C) over the classes."""
    away = (similar - similar.max(axis=1, keepdims=True)).astype(np.float64) / temperature
    powers = np.exp(away)
    found: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return found
