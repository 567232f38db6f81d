"""CLIPN-style: a "no" feature for each class, learned from images of the others."""

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

CLIPN = Method(
    "clipn",
    "CLIPN-style",
    "after Wang et al., ICCV 2023, arXiv 2308.12213: a no-feature a class, without its captions",
    "inductive",
    (ENCODER, NAMES, IMAGES),
)


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
        found = (softmax(similar, temperature) * yes).sum(axis=1)
    else:
        found = np.take_along_axis(yes, similar.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.asarray(found, np.float32)


def learn_no_features(inputs: FitInputs, seed: int, losses: Losses) -> Floats:
    """Return (C, D) unit features, which an image of another class is nearer to than the name."""
    import torch
    import torch.nn.functional as F

    images, labels, classes = tensors_of(inputs)
    drawn = torch.randn(classes.shape, generator=torch.Generator().manual_seed(seed))
    no_features = (classes + START * drawn).requires_grad_()
    scale = inputs.encoder.logit_scale

    def loss_of(rows: torch.Tensor) -> torch.Tensor:
        return clipn_loss(images[rows], labels[rows], classes, F.normalize(no_features), scale)

    descend(loss_of, no_features, len(images), seed, losses)
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


SYSTEMS = (System(CLIPN, fit_clipn, seeded=True),)
