"""A small network on frozen features, trained to name the classes beside a loss of its own.

TagOOD, HVCM and contrastive training learn a representation in which the classes have centres or
densities, by training whole networks on images. Here the image-text encoder's features stay as they
are; two layers on them are trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.benchmark.systems._training import Losses, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Shape = Callable[[torch.Tensor], torch.Tensor]
    BesideLoss = Callable[[Shape, torch.Tensor, torch.Tensor], torch.Tensor]

HIDDEN = 128  # ours, like the schedule
SCHEDULE = Schedule(epochs=20, batch_size=128, learning_rate=1e-3, min_steps=300)


@dataclass(frozen=True, eq=False)
class Embedding:
    """Two layers from unit features (N, D) to an embedding (N, E)."""

    layers: tuple[Floats, Floats, Floats, Floats]  # (H, D), (H,), (E, H), (E,)

    @property
    def size(self) -> int:
        """Parameter count."""
        return sum(layer.size for layer in self.layers)

    def __call__(self, features: Floats) -> NDArray[np.float64]:
        """Embed features of any length."""
        first, shift, second, offset = self.layers
        hidden = np.maximum(scores.normalise(features) @ first.T + shift, 0)
        embedded: NDArray[np.float64] = (hidden @ second.T + offset).astype(np.float64)
        return embedded


def learn_embedding(
    images: Floats,
    labels: NDArray[np.int64],
    classes: int,
    width: int,
    beside: BesideLoss,
    seed: int,
    losses: Losses,
    shape: Shape = lambda embedded: embedded,
) -> Embedding:
    """Train on unit images (N, D) of classes (N,); the layer that names them is thrown away.

    The loss is the cross-entropy of a linear layer on `shape(embedding)` plus
    `beside(embed, images, labels)`, where `embed` gives the shaped embedding of a batch of images.
    """
    import torch
    import torch.nn.functional as F

    from synood.tuning.loop import minimise

    rows, targets = torch.from_numpy(images), torch.from_numpy(labels)
    generator = torch.Generator().manual_seed(seed)
    dim = rows.shape[1]

    def drawn(count: int, inputs: int) -> torch.Tensor:
        spread = float((2 / inputs) ** 0.5)
        return (spread * torch.randn(count, inputs, generator=generator)).requires_grad_()

    def zeros(count: int) -> torch.Tensor:
        return torch.zeros(count, requires_grad=True)

    layers = [drawn(HIDDEN, dim), zeros(HIDDEN), drawn(width, HIDDEN), zeros(width)]
    naming = [drawn(classes, width), zeros(classes)]

    def embed(batch: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(batch @ layers[0].T + layers[1])
        return shape(hidden @ layers[2].T + layers[3])

    def loss_of(batch: torch.Tensor) -> torch.Tensor:
        logits = embed(rows[batch]) @ naming[0].T + naming[1]
        named: torch.Tensor = F.cross_entropy(logits, targets[batch])
        return named + beside(embed, rows[batch], targets[batch])

    adam = torch.optim.Adam([*layers, *naming], lr=SCHEDULE.learning_rate)
    minimise(loss_of, adam, len(rows), SCHEDULE, seed, losses)
    a, b, c, d = (layer.detach().numpy() for layer in layers)
    return Embedding((a, b, c, d))
