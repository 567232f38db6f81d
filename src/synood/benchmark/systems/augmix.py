"""AugMix-style: MSP and energy of a classifier that agrees on distorted views of an image.

The paper trains a network. Here a linear classifier on the image-text encoder's features is trained
with its loss; at full scale a network trained so can be the bundle's classifier, and the ordinary
rows are then AugMix's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from synood import scores
from synood.benchmark.protocol.methods import ENCODER, IMAGES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._augmix import augmented
from synood.benchmark.systems._training import Losses, Schedule, few_shots

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.system import Fit

    Floats = NDArray[np.float32]

_PAPER = "after Hendrycks et al., ICLR 2020, arXiv 1912.02781: a linear classifier on features"
MSP = Method("msp-augmix", "MSP, AugMix-style", _PAPER, "inductive", (ENCODER, IMAGES))
ENERGY = Method("energy-augmix", "Energy, AugMix-style", _PAPER, "inductive", (ENCODER, IMAGES))
AGREEING = 12.0  # weight of the divergence between views: the authors' cifar.py and imagenet.py
VIEWS = 2  # distorted views of an image
SCHEDULE = Schedule(epochs=20, batch_size=128, learning_rate=1e-2, min_steps=300)  # ours


def _fit(score: Callable[[Floats], Floats]) -> Fit:
    def fit(inputs: FitInputs, seed: int) -> Fitted:
        known = _HEADS.setdefault(inputs, {})
        if seed not in known:
            losses = Losses()
            known[seed] = learn_head(inputs, seed, losses), losses
        head, losses = known[seed]
        return Fitted(
            lambda encoded: score(head.logits(encoded)), {"loss": losses.to_json()}, head.size
        )

    return fit


@dataclass(frozen=True, eq=False)
class Head:
    """A linear layer (C, D), (C,) on unit features times `scale`."""

    weight: Floats
    bias: Floats
    scale: float

    @property
    def size(self) -> int:
        """Parameter count."""
        return self.weight.size + self.bias.size

    def logits(self, encoded: EncodedSet) -> Floats:
        """Return a set's logits (N, C)."""
        unit = self.scale * scores.normalise(encoded.features)
        return scores.linear(unit, self.weight, self.bias)


_HEADS: WeakKeyDictionary[FitInputs, dict[int, tuple[Head, Losses]]] = WeakKeyDictionary()
"""The heads that both rows score with, by inputs and seed."""


def learn_head(inputs: FitInputs, seed: int, losses: Losses) -> Head:
    """Train on up to 16 images of each class and two distorted views of each."""
    import torch

    from synood.tuning.loop import minimise

    images, labels, shots = few_shots(inputs.train, seed)
    views = [images, *distorted(inputs, shots, seed)]
    scale = inputs.encoder.logit_scale
    rows = [scale * torch.from_numpy(view) for view in views]
    targets = torch.from_numpy(labels)
    linear = torch.nn.Linear(images.shape[1], len(inputs.class_names))
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)

    def loss_of(batch: torch.Tensor) -> torch.Tensor:
        return augmix_loss([linear(view[batch]) for view in rows], targets[batch])

    adam = torch.optim.Adam(linear.parameters(), lr=SCHEDULE.learning_rate)
    minimise(loss_of, adam, len(images), SCHEDULE, seed, losses)
    weight, bias = (value.detach().numpy() for value in (linear.weight, linear.bias))
    return Head(weight, bias, scale)


def distorted(inputs: FitInputs, shots: EncodedSet, seed: int) -> list[Floats]:
    """Return the unit features (N, D) of `VIEWS` AugMix views of each image."""
    found: list[list[Floats]] = [[] for _ in range(VIEWS)]
    rng = np.random.default_rng(seed)
    for images in shots.require_images().batches():
        for view in found:
            mixed = [augmented(image, rng) for image in images]
            view.append(inputs.encoder.encode_images(mixed))
    return [scores.normalise(np.concatenate(view)) for view in found]


def augmix_loss(logits: list[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the plain view, and the Jensen-Shannon divergence of all (B, C) views.

    Equation 1 of the paper; the mean distribution is kept above 1e-7, as in the authors' code.
    """
    import torch
    import torch.nn.functional as F

    shares = [view.softmax(dim=1) for view in logits]
    middle = torch.stack(shares).mean(0).clamp(1e-7, 1).log()
    apart = [F.kl_div(middle, share, reduction="batchmean") for share in shares]
    named: torch.Tensor = F.cross_entropy(logits[0], labels)
    return named + AGREEING * torch.stack(apart).mean()


SYSTEMS = (
    System(MSP, _fit(scores.msp), seeded=True),
    System(ENERGY, _fit(scores.energy), seeded=True),
)
