"""Places of training images as in-distribution crops and as crops that only look like it.

ID-like and Local-Prompt crop their few images at random and sort the crops by their cosine with the
class name: the nearest show the class, the farthest its surroundings. Here the encoder's local
features stand for crops, and negatives are learned as features of such crops.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.benchmark.systems._learned import START, descend
from synood.benchmark.systems._training import few_shots

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.systems._training import Losses

    Floats = NDArray[np.float32]
    Rows = torch.Tensor
    # near places, far places, labels, names, negatives, scale -> loss
    PlacesLoss = Callable[[Rows, Rows, Rows, Rows, Rows, float], torch.Tensor]

KEPT = 0.25  # of an image's places, at either end


@dataclass(frozen=True, eq=False)
class Places:
    """Unit features of places (N, K, D) that show the class, (N, K, D) that do not, labels (N,)."""

    near: Floats
    far: Floats
    labels: NDArray[np.int64]


def sorted_places(inputs: FitInputs, seed: int) -> Places:
    """Sort the places of up to 16 images a class by their cosine with the class name."""
    _, labels, shots = few_shots(inputs.train, seed)
    local = np.concatenate(list(shots.patches()))
    count = max(1, round(KEPT * local.shape[1]))
    unit = scores.normalise(local.reshape(-1, local.shape[2])).reshape(local.shape)
    alike = np.einsum("nld,nd->nl", unit, inputs.class_features[labels])
    order = np.argsort(-alike, axis=1, kind="stable")[:, :, None]
    near = np.take_along_axis(unit, order[:, :count], axis=1)
    return Places(near, np.take_along_axis(unit, order[:, -count:], axis=1), labels)


def learn_texts(
    inputs: FitInputs, seed: int, losses: Losses, count: int, begin: int, loss: PlacesLoss
) -> tuple[Floats, Floats]:
    """Learn one shift of all class names, and `count` negatives: unit (C, D) and (M, D).

    A negative starts near the far place `begin` of an image that is drawn.
    """
    import torch
    import torch.nn.functional as F

    places = sorted_places(inputs, seed)
    near, far = torch.from_numpy(places.near), torch.from_numpy(places.far)
    labels, classes = torch.from_numpy(places.labels), torch.from_numpy(inputs.class_features)
    generator = torch.Generator().manual_seed(seed)
    picked = torch.randint(len(far), (count,), generator=generator)
    drawn = torch.randn(count, classes.shape[1], generator=generator)
    begun = F.normalize(far[picked, begin] + START * drawn)
    learned = torch.cat([torch.zeros(1, classes.shape[1]), begun]).requires_grad_()
    scale = inputs.encoder.logit_scale

    def parts() -> tuple[torch.Tensor, torch.Tensor]:
        return F.normalize(classes + learned[:1]), F.normalize(learned[1:])

    def loss_of(rows: torch.Tensor) -> torch.Tensor:
        return loss(near[rows], far[rows], labels[rows], *parts(), scale)

    descend(loss_of, learned, len(near), seed, losses)
    with torch.no_grad():
        names, negatives = parts()
        return names.numpy(), negatives.numpy()
