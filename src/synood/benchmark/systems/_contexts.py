"""Prompt tuning: the vectors before a class name, learned from a few images of each class.

They go through the text tower as in the papers. The images are features, so all shots make one
batch: a hundred steps of Adam stand for tens of thousands of SGD, without crops and flips.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood import scores
from synood.benchmark.protocol.methods import ENCODER
from synood.benchmark.systems._training import Losses, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.system import Scorer

    Floats = NDArray[np.float32]

TOWER = f"{ENCODER} whose text tower takes vectors for words"
START = "a photo of a"  # configs/trainers/CoOp/vit_b16_ctxv1.yaml and CoCoOp's
STEPS = Schedule(epochs=100, batch_size=1, learning_rate=2e-3)  # ours but for the rate


def mcm_of(names: Floats, temperature: float) -> Scorer:
    """Return MCM on the features (C, D) of class names."""
    return lambda encoded: scores.mcm(
        scores.cosine_similarity(encoded.features, names), temperature
    )


def tune_contexts(
    inputs: FitInputs, loss_of: Callable[[torch.Tensor], torch.Tensor], losses: Losses
) -> tuple[Floats, int]:
    """Learn the vectors before the class names: their unit features (C, D), and how many numbers.

    `loss_of` gets the names' unit features at each step.
    """
    import torch
    import torch.nn.functional as F

    from synood.models.contexts import context_encoder
    from synood.tuning.loop import minimise

    encoder = context_encoder(inputs.encoder)
    contexts = encoder.token_embeddings(START).requires_grad_()
    texts = [f"{name}." for name in inputs.class_names]

    def names() -> torch.Tensor:
        return F.normalize(encoder.encode_with_context(texts, contexts)).cpu()

    adam = torch.optim.Adam([contexts], lr=STEPS.learning_rate)
    minimise(lambda _: loss_of(names()), adam, 1, STEPS, seed=0, callback=losses)
    with torch.no_grad():
        return names().numpy(), contexts.numel()


def cross_entropy(
    inputs: FitInputs, images: Floats, labels: NDArray[np.int64]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return CoOp's loss of unit names (C, D), at the encoder's own scale."""
    import torch

    rows, targets = torch.from_numpy(images), torch.from_numpy(labels)
    scale = inputs.encoder.logit_scale
    return lambda names: torch.nn.functional.cross_entropy(scale * rows @ names.T, targets)
