"""LSN-style: three negative features for each class, learned from images of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.benchmark.protocol.baselines import TEMPERATURES
from synood.benchmark.protocol.methods import ENCODER, IMAGES, NAMES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.benchmark.systems._learned import START, descend, softmax, tensors_of
from synood.benchmark.systems._training import Losses

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.system import Scorer

    Floats = NDArray[np.float32]

LSN = Method(
    "lsn",
    "LSN-style",
    "after Nie et al., ICLR 2024: negative features in place of negative prompts",
    "inductive",
    (ENCODER, NAMES, IMAGES),
    link="https://github.com/junz-debug/lsn",
)
SETS = 3  # LSN: negative prompts of each class
APART = 0.1  # LSN: lambda, weight of keeping them apart


def fit_lsn(inputs: FitInputs, seed: int) -> Fitted:
    """Learn three negatives of each class; choose the temperature on validation images."""
    losses = Losses()
    classes = inputs.class_features
    negatives = learn_negatives(inputs, seed, losses)

    def scorer(temperature: float) -> Scorer:
        return lambda encoded: lsn_score(encoded.features, classes, negatives, temperature)

    options = [
        Option({"temperature": t, "loss": losses.to_json()}, scorer(t)) for t in TEMPERATURES
    ]
    return best_of(inputs, options, negatives.size)


def lsn_score(features: Floats, classes: Floats, negatives: Floats, temperature: float) -> Floats:
    """Largest gap between a class's share of the names' softmax and of the negatives': (N,).

    `classes` (C, D), `negatives` (S, C, D), whose cosines are averaged over the S sets.
    """
    away = np.mean([scores.cosine_similarity(features, one) for one in negatives], axis=0)
    gap = softmax(scores.cosine_similarity(features, classes), temperature) - softmax(
        away, temperature
    )
    found: Floats = gap.max(axis=1).astype(np.float32)
    return found


def learn_negatives(inputs: FitInputs, seed: int, losses: Losses) -> Floats:
    """Return (S, C, D) unit features: not a, not b, ... are what an image of c is like."""
    import torch
    import torch.nn.functional as F

    images, labels, classes = tensors_of(inputs)
    drawn = torch.randn(SETS, *classes.shape, generator=torch.Generator().manual_seed(seed))
    negatives = (classes + START * drawn).requires_grad_()
    scale = inputs.encoder.logit_scale

    def loss_of(rows: torch.Tensor) -> torch.Tensor:
        return lsn_loss(images[rows], labels[rows], F.normalize(negatives, dim=2), scale)

    descend(loss_of, negatives, len(images), seed, losses)
    return F.normalize(negatives.detach(), dim=2).numpy()


def lsn_loss(
    images: torch.Tensor, labels: torch.Tensor, negatives: torch.Tensor, scale: float
) -> torch.Tensor:
    """Cross-entropy of each set's softmax with "any class but the image's", and the sets' overlap.

    Unit images (B, D) and negatives (S, C, D); the overlap is the mean squared cosine between
    negatives of one class in different sets.
    """
    import torch

    sets, classes = negatives.shape[:2]
    chances = torch.log_softmax(scale * images @ negatives.transpose(1, 2), dim=2)  # (S, B, C)
    others = 1 - torch.nn.functional.one_hot(labels, classes).float()
    wrong = -(chances * others).sum(2).mean() / (classes - 1)
    between = torch.einsum("scd,tcd->cst", negatives, negatives)
    off = between[:, ~torch.eye(sets, dtype=torch.bool)]
    return wrong + APART * off.square().mean()


SYSTEMS = (System(LSN, fit_lsn, seeded=True),)
