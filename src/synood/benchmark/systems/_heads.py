"""Small heads on frozen features, trained to separate images from outliers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from synood import scores
from synood.benchmark.systems._training import Schedule

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.benchmark.systems._training import Losses

    Floats = NDArray[np.float32]

# VOS, train_virtual.py: SGD with Nesterov's momentum, outliers from epoch 40 of 100 on
ENERGY = Schedule(epochs=100, batch_size=128, learning_rate=0.1, final_learning_rate=1e-6)
MOMENTUM, DECAY = 0.9, 5e-4
WARM_SHARE = 0.4
ENERGY_WEIGHT = 0.1  # loss_weight
OUTLIER = Schedule(epochs=20, batch_size=128, learning_rate=1e-3, min_steps=200)  # ours, Adam
HIDDEN = 128  # ours


class Outliers(Protocol):
    """A source of outliers for the training of a head."""

    def unlikely(self, rng: np.random.Generator) -> Floats:
        """Draw outliers: (M, D)."""


@dataclass(frozen=True, eq=False)
class EnergyHead:
    """A linear classifier (C, D) of features of one length, scored by its energy.

    `shares` (C,) weigh the classes in the energy of the loss; the score is the energy without them,
    as in VOS's own test (classification/CIFAR/test.py:145).
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    shares: NDArray[np.float64]
    length: float = 1.0

    @property
    def size(self) -> int:
        """Parameter count."""
        return self.weight.size + self.bias.size + self.shares.size

    def score(self, features: Floats) -> Floats:
        """Score (N, D): logsumexp of the logits, (N,)."""
        return scores.energy(self.length * scores.normalise(features) @ self.weight.T + self.bias)

    def of_set(self, encoded: EncodedSet) -> Floats:
        """Score a set: the scorer of a system."""
        return self.score(encoded.features)

    @classmethod
    def fit(
        cls,
        images: Floats,
        labels: NDArray[np.int64],
        classes: int,
        outliers: Outliers,
        length: float,
        seed: int,
        losses: Losses,
    ) -> EnergyHead:
        """Train on unit images (N, D), scaled to `length` like the outliers, and classes (N,).

        Each step draws new outliers.
        """
        import torch

        from synood.tuning.loop import epoch_count, minimise

        rows, targets = length * torch.from_numpy(images), torch.from_numpy(labels)
        generator = torch.Generator().manual_seed(seed)
        linear = torch.nn.Linear(images.shape[1], classes)
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
        shares = torch.rand(classes, generator=generator).requires_grad_()
        logistic = torch.tensor([1.0, 0.0], requires_grad=True)
        rng = np.random.default_rng([seed, 1])
        epochs = epoch_count(len(rows), ENERGY)
        warm = WARM_SHARE * epochs * math.ceil(len(rows) / ENERGY.batch_size)

        def loss_of(batch: torch.Tensor) -> torch.Tensor:
            logits = linear(rows[batch])
            loss = torch.nn.functional.cross_entropy(logits, targets[batch])
            if len(losses.values) < warm:
                return loss
            beyond = linear(torch.from_numpy(outliers.unlikely(rng)))
            return loss + ENERGY_WEIGHT * energy_loss(logits, beyond, shares, logistic)

        sgd = torch.optim.SGD(
            [linear.weight, linear.bias, shares, logistic],
            lr=ENERGY.learning_rate,
            momentum=MOMENTUM,
            weight_decay=DECAY,
            nesterov=True,
        )
        minimise(loss_of, sgd, len(rows), ENERGY, seed, losses)
        learned = (linear.weight, linear.bias, shares)
        weight, bias, weighed = (value.detach().double().numpy() for value in learned)
        return cls(weight, bias, weighed, length)


def energy_loss(
    inside: torch.Tensor, outside: torch.Tensor, shares: torch.Tensor, logistic: torch.Tensor
) -> torch.Tensor:
    """Logistic loss of the weighted energies of logits (N, C) and (M, C); images are the target 1.

    `shares` (C,) weigh the classes, `logistic` is slope and offset of the regression.
    """
    import torch

    log_shares = torch.relu(shares).clamp_min(1e-12).log()
    energies = torch.cat([torch.logsumexp(part + log_shares, dim=1) for part in (inside, outside)])
    wanted = torch.cat([torch.ones(len(inside)), torch.zeros(len(outside))])
    return torch.nn.functional.binary_cross_entropy_with_logits(
        logistic[0] * energies + logistic[1], wanted
    )


@dataclass(frozen=True, eq=False)
class OutlierHead:
    """Two layers on unit features: positive for in-distribution, negative for outliers."""

    layers: tuple[Floats, Floats, Floats, Floats]  # (H, D), (H,), (1, H), (1,)

    @property
    def size(self) -> int:
        """Parameter count."""
        return sum(layer.size for layer in self.layers)

    def score(self, features: Floats) -> Floats:
        """Return the logit of "in-distribution" of features (N, D): (N,)."""
        first, shift, second, offset = self.layers
        hidden = np.maximum(scores.normalise(features) @ first.T + shift, 0)
        found: Floats = (hidden @ second.T + offset)[:, 0].astype(np.float32)
        return found

    def of_set(self, encoded: EncodedSet) -> Floats:
        """Score a set: the scorer of a system."""
        return self.score(encoded.features)

    @classmethod
    def fit(cls, images: Floats, outliers: Floats, seed: int, losses: Losses) -> OutlierHead:
        """Train on unit images (N, D) and outliers (M, D), with equal weight."""
        import torch

        from synood.tuning.loop import minimise

        rows = torch.from_numpy(np.concatenate([images, outliers]))
        wanted = torch.cat([torch.ones(len(images)), torch.zeros(len(outliers))])
        generator = torch.Generator().manual_seed(seed)
        dim = rows.shape[1]
        first = torch.randn(HIDDEN, dim, generator=generator) * (2 / dim) ** 0.5
        second = torch.randn(1, HIDDEN, generator=generator) / HIDDEN**0.5
        layers = [first, torch.zeros(HIDDEN), second, torch.zeros(1)]
        for layer in layers:
            layer.requires_grad_()
        weight = torch.where(wanted == 1, 0.5 / len(images), 0.5 / len(outliers)) * len(rows)

        def loss_of(batch: torch.Tensor) -> torch.Tensor:
            hidden = torch.relu(rows[batch] @ layers[0].T + layers[1])
            logits = (hidden @ layers[2].T + layers[3])[:, 0]
            return torch.nn.functional.binary_cross_entropy_with_logits(
                logits, wanted[batch], weight[batch]
            )

        adam = torch.optim.Adam(layers, lr=OUTLIER.learning_rate)
        minimise(loss_of, adam, len(rows), OUTLIER, seed, losses)
        a, b, c, d = (layer.detach().numpy() for layer in layers)
        return cls((a, b, c, d))
