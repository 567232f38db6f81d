"""Prompt tuning: the vectors before a class name are learned from a few images of each class.

They go through the text tower as the papers' do. The images are features, so all shots make one
batch: a hundred of Adam's steps stand for tens of thousands of SGD's, without crops and flips.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.benchmark.protocol.baselines import MCM_TEMPERATURES
from synood.benchmark.protocol.methods import ENCODER, IMAGES, NAMES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.benchmark.systems._training import Losses, Schedule, few_shots
from synood.benchmark.systems.gl_mcm import Matching

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.system import Scorer

    Floats = NDArray[np.float32]

_TOWER = f"{ENCODER} whose text tower takes vectors for words"
COOP = Method(
    "coop",
    "CoOp",
    "Zhou et al., IJCV 2022, arXiv 2109.01134, on features without crops, scored as MCM",
    "inductive",
    (_TOWER, NAMES, IMAGES),
)
LOCOOP = Method(
    "locoop",
    "LoCoOp",
    "Miyai et al., NeurIPS 2023, arXiv 2306.01293, on features without crops",
    "inductive",
    (f"{_TOWER}, with features of single places", NAMES, IMAGES),
)
START = "a photo of a"  # configs/trainers/CoOp/vit_b16_ctxv1.yaml and CoCoOp's
STEPS = Schedule(epochs=100, batch_size=1, learning_rate=2e-3)  # ours but for the rate
LOCAL_WEIGHT = 0.25  # LoCoOp: lambda
TOP_SHARE = 0.2  # LoCoOp: the 200 likeliest of 1,000 classes


def fit_coop(inputs: FitInputs, seed: int) -> Fitted:
    """Learn the vectors; choose MCM's temperature on validation images."""
    losses = Losses()
    images, labels, _ = few_shots(inputs.train, seed)
    names, learned = tune_contexts(inputs, cross_entropy(inputs, images, labels), losses)
    options = [
        Option({"temperature": t, "loss": losses.to_json()}, _mcm(names, t))
        for t in MCM_TEMPERATURES
    ]
    return best_of(inputs, options, learned)


def fit_locoop(inputs: FitInputs, seed: int) -> Fitted:
    """Learn the vectors away from places without the class; choose score and temperature."""
    losses = Losses()
    images, labels, shots = few_shots(inputs.train, seed)
    local = np.concatenate(list(shots.patches()))
    global_loss = cross_entropy(inputs, images, labels)
    local_loss = entropy_elsewhere(inputs, local, labels)
    names, learned = tune_contexts(
        inputs, lambda names: global_loss(names) - LOCAL_WEIGHT * local_loss(names), losses
    )
    matching = Matching(names)
    options = [
        Option({"score": score, "temperature": t, "loss": losses.to_json()}, scorer)
        for place, t in enumerate(MCM_TEMPERATURES)
        for score, scorer in (("GL-MCM", matching.scorer(place)), ("MCM", _mcm(names, t)))
    ]
    return best_of(inputs, options, learned)


def _mcm(names: Floats, temperature: float) -> Scorer:
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
    contexts = encoder.word_vectors(START).requires_grad_()
    texts = [f"{name}." for name in inputs.class_names]

    def names() -> torch.Tensor:
        return F.normalize(encoder.encode_contexts(texts, contexts)).cpu()

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


def entropy_elsewhere(
    inputs: FitInputs, local: Floats, labels: NDArray[np.int64]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return LoCoOp's mean entropy, over places whose likeliest classes lack the image's own.

    `local` (N, L, D) are features of places. Zero where every place has its class (locoop.py:24).
    """
    import torch
    import torch.nn.functional as F

    places = F.normalize(torch.from_numpy(local).flatten(0, 1))
    own = torch.from_numpy(labels).repeat_interleave(local.shape[1])
    scale, top = inputs.encoder.logit_scale, round(TOP_SHARE * len(inputs.class_names))

    def entropy(names: torch.Tensor) -> torch.Tensor:
        shares = torch.softmax(scale * places @ names.T, dim=1)
        likeliest = shares.topk(max(1, top), dim=1).indices
        elsewhere = shares[(likeliest != own[:, None]).all(dim=1)]
        if not len(elsewhere):
            return names.new_zeros(())
        return -(elsewhere * torch.log(elsewhere + 1e-5)).sum(dim=1).mean()

    return entropy


SYSTEMS = (System(COOP, fit_coop, seeded=True), System(LOCOOP, fit_locoop, seeded=True))
