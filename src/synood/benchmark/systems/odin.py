"""ODIN: the softmax probability after a step along the gradient of a classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.benchmark.protocol.methods import CLASSIFIER, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from synood.benchmark.protocol.encoding import SetImages
    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.system import Scorer
    from synood.models.classifier import Classifier

ODIN = Method(
    "odin",
    "ODIN",
    "Liang, Li and Srikant, ICLR 2018, arXiv 1706.02690",
    "inductive",
    (CLASSIFIER, "the gradient of the classifier at the test image"),
)
TEMPERATURE = 1000.0
STEPS = (0.0014, 0.0, 0.0007, 0.0028)  # of pixels in [0, 1]; 0.0014 is the paper's


def fit_odin(inputs: FitInputs, seed: int) -> Fitted:
    """Choose the size of the step on validation images, the temperature as published."""

    def scorer(step: float) -> Scorer:
        return lambda encoded: odin(encoded.require_images(), TEMPERATURE, step)

    options = [Option({"temperature": TEMPERATURE, "step": s}, scorer(s)) for s in STEPS]
    return best_of(inputs, options)


def odin(images: SetImages, temperature: float, step: float) -> NDArray[np.float32]:
    """Score images after a step towards their predicted class: (N,) in (0, 1].

    The step is taken on the images before the classifier resizes them. If that shrinks them, the
    pixels that become one pixel move together, nearly as if that pixel had moved.
    """
    import torch

    parts = []
    for pixels in images.pixels():
        moved = stepped(pixels, images.classifier, temperature, step) if step else pixels
        with torch.no_grad():
            logits = images.classifier.logits(moved).double().cpu().numpy()
        parts.append(scores.msp(logits, temperature))
    return np.concatenate(parts)


def stepped(
    pixels: torch.Tensor, classifier: Classifier, temperature: float, step: float
) -> torch.Tensor:
    """Move each pixel by `step` in the direction that raises the most likely class (equation 2)."""
    import torch
    import torch.nn.functional as F

    start = pixels.detach().clone().requires_grad_(True)
    logits = classifier.logits(start) / temperature
    loss = F.cross_entropy(logits, logits.argmax(dim=1), reduction="sum")
    (gradient,) = torch.autograd.grad(loss, start)
    return pixels - step * gradient.sign()


SYSTEMS = (System(ODIN, fit_odin),)
