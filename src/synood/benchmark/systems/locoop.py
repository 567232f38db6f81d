"""LoCoOp-style: CoOp whose names are kept away from the regions of an image without its class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood.benchmark.protocol.baselines import MCM_TEMPERATURES
from synood.benchmark.protocol.methods import IMAGES, NAMES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.benchmark.systems._contexts import TOWER, cross_entropy, mcm_of, tune_contexts
from synood.benchmark.systems._training import Losses, few_shots
from synood.benchmark.systems.gl_mcm import Matching

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs

    Floats = NDArray[np.float32]

LOCOOP = Method(
    "locoop",
    "LoCoOp-style",
    "after Miyai et al., NeurIPS 2023, arXiv 2306.01293: four vectors from “a photo of a” (the "
    "authors: 16 random ones), 100 full-batch steps of Adam (50 epochs of SGD), without crops",
    "inductive",
    (f"{TOWER}, with features of single places", NAMES, IMAGES),
)
LOCAL_WEIGHT = 0.25  # LoCoOp: lambda
TOP_SHARE = 0.2  # LoCoOp: the 200 likeliest of 1,000 classes


def fit_locoop(inputs: FitInputs, seed: int) -> Fitted:
    """Learn the vectors away from regions without the class; choose score and temperature."""
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
        for score, scorer in (("GL-MCM", matching.scorer(place)), ("MCM", mcm_of(names, t)))
    ]
    return best_of(inputs, options, learned)


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


SYSTEMS = (System(LOCOOP, fit_locoop, seeded=True),)
