"""Systems that learn what a class is not: features that stand beside those of its name.

The papers learn prompts, through the text tower (LSN) or with a second text tower on three million
captions (CLIPN). Here the features themselves are learned, on the training images alone: the
losses and scores are in the papers' style, what they act on is smaller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.benchmark.protocol.baselines import TEMPERATURES
from synood.benchmark.protocol.methods import ENCODER, IMAGES, NAMES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.benchmark.systems._training import Losses, Schedule, labelled
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

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
)
CLIPN = Method(
    "clipn",
    "CLIPN-style",
    "after Wang et al., ICCV 2023, arXiv 2308.12213: a no-feature a class, without its captions",
    "inductive",
    (ENCODER, NAMES, IMAGES),
)
SETS = 3  # LSN: negative prompts of each class
APART = 0.1  # LSN: lambda, weight of keeping them apart
START = 0.02  # CoOp's spread of what is drawn at the start
SCHEDULE = Schedule(epochs=20, batch_size=128, learning_rate=1e-2, min_steps=200)  # ours


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


def fit_clipn(inputs: FitInputs, seed: int) -> Fitted:
    """Learn a no-feature of each class; choose temperature and decision on validation images."""
    losses = Losses()
    classes = inputs.class_features
    no_features = learn_no_features(inputs, seed, losses)

    def scorer(temperature: float, agree: bool) -> Scorer:
        return lambda encoded: clipn_score(
            encoded.features, classes, no_features, temperature, agree
        )

    options = [
        Option(
            {"temperature": t, "decision": decision, "loss": losses.to_json()},
            scorer(t, decision == "agreeing to differ"),
        )
        for decision in ("agreeing to differ", "competing to win")  # zero_shot_infer.py
        for t in TEMPERATURES
    ]
    return best_of(inputs, options, no_features.size)


def lsn_score(features: Floats, classes: Floats, negatives: Floats, temperature: float) -> Floats:
    """Largest gap between a class's share of the names' softmax and of the negatives': (N,).

    `classes` (C, D), `negatives` (S, C, D), whose cosines are averaged over the S sets.
    """
    away = np.mean([scores.cosine_similarity(features, one) for one in negatives], axis=0)
    gap = _shares(scores.cosine_similarity(features, classes), temperature) - _shares(
        away, temperature
    )
    found: Floats = gap.max(axis=1).astype(np.float32)
    return found


def clipn_score(
    features: Floats, classes: Floats, no_features: Floats, temperature: float, agree: bool
) -> Floats:
    """Probability of "yes", weighted by the classes' shares or of the likeliest class: (N,).

    With `agree` every class has its say ("agreeing to differ"), else the likeliest alone.
    """
    similar = scores.cosine_similarity(features, classes)
    gap = (scores.cosine_similarity(features, no_features) - similar).astype(
        np.float64
    ) / temperature
    yes = 1 / (1 + np.exp(gap))
    if agree:
        found = (_shares(similar, temperature) * yes).sum(axis=1)
    else:
        found = np.take_along_axis(yes, similar.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.asarray(found, np.float32)


def _shares(similar: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    away = (similar - similar.max(axis=1, keepdims=True)).astype(np.float64) / temperature
    powers = np.exp(away)
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def learn_negatives(inputs: FitInputs, seed: int, losses: Losses) -> Floats:
    """Return (S, C, D) unit features: not a, not b, ... are what an image of c is like."""
    import torch
    import torch.nn.functional as F

    images, labels, classes = _on_torch(inputs)
    drawn = torch.randn(SETS, *classes.shape, generator=torch.Generator().manual_seed(seed))
    negatives = (classes + START * drawn).requires_grad_()
    scale = inputs.encoder.logit_scale

    def loss_of(rows: torch.Tensor) -> torch.Tensor:
        return lsn_loss(images[rows], labels[rows], F.normalize(negatives, dim=2), scale)

    _descend(loss_of, negatives, len(images), seed, losses)
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


def learn_no_features(inputs: FitInputs, seed: int, losses: Losses) -> Floats:
    """Return (C, D) unit features, which an image of another class is nearer to than the name."""
    import torch
    import torch.nn.functional as F

    images, labels, classes = _on_torch(inputs)
    drawn = torch.randn(classes.shape, generator=torch.Generator().manual_seed(seed))
    no_features = (classes + START * drawn).requires_grad_()
    scale = inputs.encoder.logit_scale

    def loss_of(rows: torch.Tensor) -> torch.Tensor:
        return clipn_loss(images[rows], labels[rows], classes, F.normalize(no_features), scale)

    _descend(loss_of, no_features, len(images), seed, losses)
    return F.normalize(no_features.detach()).numpy()


def clipn_loss(
    images: torch.Tensor,
    labels: torch.Tensor,
    classes: torch.Tensor,
    no_features: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """Binary-opposite loss of image and name, and semantic-opposite loss of name and no-feature.

    Unit images (B, D), class and no-features (C, D). "No" is right for every class but the
    image's own; 2 less the distance of a name from its "no" is least where they are opposite.
    """
    import torch

    no = scale * images @ (no_features - classes).T
    wanted = 1 - torch.nn.functional.one_hot(labels, len(classes)).float()
    binary = torch.nn.functional.binary_cross_entropy_with_logits(no, wanted)
    alike: torch.Tensor = (2 - torch.linalg.vector_norm(classes - no_features, dim=1)).mean()
    return binary + alike


def _on_torch(inputs: FitInputs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    import torch

    images, labels = labelled(inputs.train)
    if len(inputs.class_names) < 2:
        raise InputError("one class alone: what it is not is learned from images of the others")
    return (
        torch.from_numpy(images),
        torch.from_numpy(labels),
        torch.from_numpy(inputs.class_features),
    )


def _descend(
    loss_of: Callable[[torch.Tensor], torch.Tensor],
    learned: torch.Tensor,
    rows: int,
    seed: int,
    losses: Losses,
) -> None:
    import torch

    from synood.tuning.loop import minimise

    adam = torch.optim.Adam([learned], lr=SCHEDULE.learning_rate)
    minimise(loss_of, adam, rows, SCHEDULE, seed, losses)


SYSTEMS = (System(LSN, fit_lsn, seeded=True), System(CLIPN, fit_clipn, seeded=True))
