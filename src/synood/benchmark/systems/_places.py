"""Places of training images as in-distribution crops and as crops that only look like it.

ID-like and Local-Prompt crop their few images at random and sort the crops by their cosine with the
class name: the nearest show the class, the farthest its surroundings. Here the encoder's local
features stand for crops.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.benchmark.systems._training import few_shots

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs

    Floats = NDArray[np.float32]

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
