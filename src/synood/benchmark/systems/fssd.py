"""FSSD: how far a feature is from where the network puts noise, its feature space singularity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood.benchmark.protocol.methods import CLASSIFIER, Method
from synood.benchmark.protocol.system import Fitted, System

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.benchmark.protocol.fit_inputs import FitInputs

    Floats = NDArray[np.float32]

FSSD = Method(
    "fssd",
    "FSSD",
    "Huang et al., 2020, arXiv 2011.14654, last layer alone and without its input noise",
    "inductive",
    (CLASSIFIER,),
)
BATCH = 25  # images at a time
NOISE = 100  # images of noise: lib/inference/FSS/__init__.py:16


def fit_fssd(inputs: FitInputs, seed: int) -> Fitted:
    """Average the features of uniform noise, at the size that the encoder takes images."""
    middle = noise_feature(inputs, seed)

    def score(encoded: EncodedSet) -> Floats:
        return distance(encoded.penultimate, middle)

    return Fitted(score, {"noise": NOISE}, middle.size)


def noise_feature(inputs: FitInputs, seed: int) -> NDArray[np.float64]:
    """Mean penultimate feature (P,) of `NOISE` images whose bytes are drawn evenly."""
    import torch

    side = inputs.encoder.image_size
    drawn = np.random.default_rng(seed).integers(0, 255, (NOISE, 3, side, side), np.uint8)
    pixels = torch.from_numpy(drawn).float() / 255
    with torch.no_grad():
        parts = [
            inputs.classifier.penultimate(pixels[start : start + BATCH])
            for start in range(0, NOISE, BATCH)
        ]
    middle: NDArray[np.float64] = torch.cat(parts).double().mean(0).cpu().numpy()
    return middle


def distance(features: Floats, middle: NDArray[np.float64]) -> Floats:
    """Euclidean distance of (N, P) features from the singularity (P,): (N,)."""
    found: Floats = np.linalg.norm(features - middle, axis=1).astype(np.float32)
    return found


SYSTEMS = (System(FSSD, fit_fssd, seeded=True),)
