"""NegPrompt-style: shifts of all class names that mean "not this", shared by the classes.

The paper learns negative contexts through the text tower after positive ones. Here a context is a
vector added to the names' features, which are themselves as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.benchmark.protocol.baselines import TEMPERATURES
from synood.benchmark.protocol.methods import ENCODER, IMAGES, NAMES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.benchmark.systems._learned import descend, tensors_of
from synood.benchmark.systems._training import Losses

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.system import Scorer

    Floats = NDArray[np.float32]

NEGPROMPT = Method(
    "negprompt",
    "NegPrompt-style",
    "after Li et al., CVPR 2024, arXiv 2404.03248: shifts of names in place of negative prompts",
    "inductive",
    (ENCODER, NAMES, IMAGES),
)
CONTEXTS = 2  # negative contexts
NEAR, APART = 0.1, 0.05  # ours: weights of staying near the name, and apart from each other
BEGIN = 0.5  # ours: length of a context at the start, beside names of length 1


def fit_negprompt(inputs: FitInputs, seed: int) -> Fitted:
    """Learn the shifts; choose the temperature on validation images."""
    losses = Losses()
    classes = inputs.class_features
    negatives = learn_negatives(inputs, seed, losses)

    def scorer(temperature: float) -> Scorer:
        return lambda encoded: negprompt_score(encoded.features, classes, negatives, temperature)

    options = [
        Option({"temperature": t, "loss": losses.to_json()}, scorer(t)) for t in TEMPERATURES
    ]
    return best_of(inputs, options, CONTEXTS * classes.shape[1])


def negprompt_score(
    features: Floats, classes: Floats, negatives: Floats, temperature: float
) -> Floats:
    """Log of the largest class probability in a softmax over names and their negatives (N,).

    `classes` (C, D), `negatives` (S, C, D).
    """
    both = np.concatenate([classes, negatives.reshape(-1, classes.shape[1])])
    logits = scores.cosine_similarity(features, both).astype(np.float64) / temperature
    best = logits[:, : len(classes)].max(axis=1)
    top = logits.max(axis=1, keepdims=True)
    total = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
    return np.asarray(best - total, np.float32)


def learn_negatives(inputs: FitInputs, seed: int, losses: Losses) -> Floats:
    """Return (S, C, D) unit features: each name moved by each negative context."""
    import torch
    import torch.nn.functional as F

    images, labels, classes = tensors_of(inputs)
    generator = torch.Generator().manual_seed(seed)
    drawn = F.normalize(torch.randn(CONTEXTS, classes.shape[1], generator=generator))
    contexts = (BEGIN * drawn).requires_grad_()
    scale = inputs.encoder.logit_scale

    def moved() -> torch.Tensor:
        return F.normalize(classes + contexts[:, None], dim=2)

    def loss_of(rows: torch.Tensor) -> torch.Tensor:
        return negprompt_loss(images[rows], labels[rows], classes, moved(), scale)

    descend(loss_of, contexts, len(images), seed, losses)
    with torch.no_grad():
        return moved().numpy()


def negprompt_loss(
    images: torch.Tensor,
    labels: torch.Tensor,
    classes: torch.Tensor,
    negatives: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """Keep images from negatives, negatives near their names, and negatives apart from each other.

    Unit images (B, D), names (C, D) and negatives (S, C, D): cross-entropy with the class over
    names and negatives, less the mean cosine of a negative with its name, plus that of negatives
    of one class.
    """
    import torch
    import torch.nn.functional as F

    logits = scale * images @ torch.cat([classes, negatives.flatten(0, 1)]).T
    apart_from_images = F.cross_entropy(logits, labels)
    near_names = (negatives * classes).sum(2).mean()
    between = torch.einsum("scd,tcd->cst", negatives, negatives)
    off = between[:, ~torch.eye(len(negatives), dtype=torch.bool)]
    loss: torch.Tensor = apart_from_images - NEAR * near_names + APART * off.mean()
    return loss


SYSTEMS = (System(NEGPROMPT, fit_negprompt, seeded=True),)
