"""LoCoOp: CoOp whose names are kept away from the places of an image without its class.

Twice: trained as the authors do, which takes thousands of runs of the text tower, and in the style
of it on features, in seconds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.benchmark.protocol.baselines import MCM_TEMPERATURES
from synood.benchmark.protocol.methods import IMAGES, NAMES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.benchmark.systems._contexts import TOWER, cross_entropy, mcm_of, tune_contexts
from synood.benchmark.systems._crops import random_crop
from synood.benchmark.systems._training import Losses, few_shots
from synood.benchmark.systems.gl_mcm import Matching

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.benchmark.protocol.fit_inputs import FitInputs

    Floats = NDArray[np.float32]

LOCOOP = Method(
    "locoop",
    "LoCoOp",
    "Miyai et al., NeurIPS 2023, arXiv 2306.01293, trained as its code does, in single precision",
    "inductive",
    (f"{TOWER}, with features of single places", NAMES, IMAGES),
)
STYLE = Method(
    "locoop-style",
    "LoCoOp-style",
    "after Miyai et al., NeurIPS 2023, arXiv 2306.01293: four vectors from “a photo of a”, 100 "
    "full-batch steps of Adam on features, without crops",
    "inductive",
    LOCOOP.needs,
)
LOCAL_WEIGHT = 0.25  # lambda: README of AtsuMiyai/LoCoOp at a311b39
TOP_SHARE = 0.2  # the 200 likeliest of 1,000 classes, ibid.
# scripts/locoop/train.sh and configs/trainers/LoCoOp/vit_b16_ep50.yaml; momentum, decay and the
# order of warm-up and cosine are Dassl's
VECTORS, SPREAD = 16, 0.02
EPOCHS, BATCH = 50, 32
RATE, WARM_RATE = 2e-3, 1e-5
MOMENTUM, DECAY = 0.9, 5e-4


def fit_locoop(inputs: FitInputs, seed: int) -> Fitted:
    """Learn the vectors from crops of up to 16 images a class; choose score and temperature."""
    losses = Losses()
    _, _, shots = few_shots(inputs.train, seed)
    return _chosen(inputs, learn_contexts(inputs, shots, seed, losses), losses)


def fit_style(inputs: FitInputs, seed: int) -> Fitted:
    """Learn the vectors from the features of whole images and their places, all at once."""
    losses = Losses()
    images, labels, shots = few_shots(inputs.train, seed)
    local = np.concatenate(list(shots.patches()))
    global_loss = cross_entropy(inputs, images, labels)
    local_loss = entropy_elsewhere(inputs, local, labels)
    learned = tune_contexts(
        inputs, lambda names: global_loss(names) - LOCAL_WEIGHT * local_loss(names), losses
    )
    return _chosen(inputs, learned, losses)


def _chosen(inputs: FitInputs, learned: tuple[Floats, int], losses: Losses) -> Fitted:
    names, size = learned
    matching = Matching(names)
    options = [
        Option({"score": score, "temperature": t, "loss": losses.to_json()}, scorer)
        for place, t in enumerate(MCM_TEMPERATURES)
        for score, scorer in (("GL-MCM", matching.scorer(place)), ("MCM", mcm_of(names, t)))
    ]
    return best_of(inputs, options, size)


def learn_contexts(
    inputs: FitInputs, shots: EncodedSet, seed: int, losses: Losses
) -> tuple[Floats, int]:
    """Learn 16 vectors before the class names by SGD on random crops, new ones in each epoch.

    Returns the names' unit features (C, D), and how many numbers were learned. A last batch that
    is not full is left out, as in the authors' loader.
    """
    import torch
    import torch.nn.functional as F

    from synood.models.contexts import context_encoder

    encoder = context_encoder(inputs.encoder)
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    width = encoder.token_embeddings("a").shape[1]
    contexts = (SPREAD * torch.randn(VECTORS, width, generator=generator)).requires_grad_()
    texts = [f"{name}." for name in inputs.class_names]

    def names() -> torch.Tensor:
        return F.normalize(encoder.encode_with_context(texts, contexts)).cpu()

    sgd = torch.optim.SGD([contexts], lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    for epoch in range(EPOCHS):
        sgd.param_groups[0]["lr"] = rate_of(epoch)
        order = rng.permutation(len(shots))
        full = len(order) - len(order) % BATCH if len(order) > BATCH else len(order)
        for start in range(0, full, BATCH):
            loss = _loss(inputs, shots.take(order[start : start + BATCH]), names(), rng)
            sgd.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            sgd.step()
            losses(0, 0, loss.item())
    with torch.no_grad():
        return names().numpy(), contexts.numel()


def rate_of(epoch: int) -> float:
    """Return the learning rate of an epoch, from 0: one to warm up, then half a cosine.

    The cosine begins after the warm-up and would end an epoch after the last.
    """
    if epoch == 0:
        return WARM_RATE
    return RATE * (1 + math.cos(math.pi * (epoch - 1) / EPOCHS)) / 2


def _loss(
    inputs: FitInputs, batch: EncodedSet, names: torch.Tensor, rng: np.random.Generator
) -> torch.Tensor:
    """LoCoOp's loss of new crops of a batch: cross-entropy less 0.25 times the entropy."""
    from synood.models.patches import encode_image_patches

    encoder, labels = inputs.encoder, batch.labels
    assert labels is not None, "few_shots refuses a set without labels"
    crops = [
        random_crop(image, encoder.image_size, rng)
        for images in batch.require_images().batches()
        for image in images
    ]
    local = encode_image_patches(encoder, crops)
    images = scores.normalise(encoder.encode_images(crops))
    named = cross_entropy(inputs, images, labels)(names)
    return named - LOCAL_WEIGHT * entropy_elsewhere(inputs, local, labels)(names)


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


SYSTEMS = (
    System(LOCOOP, fit_locoop, seeded=True, slow=True),
    System(STYLE, fit_style, seeded=True),
)
