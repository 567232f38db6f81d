"""VOS-style: a head trained on virtual outliers, unlikely samples of class Gaussians.

The paper trains a network on them; here the image-text encoder's features stay as they are and a
head on them is trained.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from synood.benchmark.protocol.methods import ENCODER, IMAGES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.benchmark.systems._heads import EnergyHead
from synood.benchmark.systems._training import Losses, labelled
from synood.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs

    Floats = NDArray[np.float32]

VOS = Method(
    "vos",
    "VOS-style",
    "after Du et al., ICLR 2022, arXiv 2202.01197: a linear head on frozen features",
    "inductive",
    (ENCODER, IMAGES),
)
# VOS, train_virtual.py: of so many samples of each class the least likely one; added to the
# covariance's diagonal
SAMPLED, RIDGE = 10_000, 1e-4
LENGTHS = (10.0, 3.0, 1.0)  # ours: a trained network's features are not of unit length


def fit_vos(inputs: FitInputs, seed: int) -> Fitted:
    """Train classes and energy together, on images and on unlikely samples of their Gaussians.

    How long the features are made, which the head's rate belongs to, is chosen on validation.
    """
    images, labels = labelled(inputs.train)
    options, size = [], 0
    for length in LENGTHS[: 1 if not inputs.validation_ood else None]:
        losses, gaussians = Losses(), TiedGaussians(length * images, labels)
        classes = len(inputs.class_names)
        head = EnergyHead.fit(images, labels, classes, gaussians, length, seed, losses)
        options.append(Option({"length": length, "loss": losses.to_json()}, head.of_set))
        size = head.size
    return best_of(inputs, options, size)


class TiedGaussians:
    """A Gaussian of each class under one covariance, and samples that are unlikely under it."""

    def __init__(self, features: NDArray[np.floating], labels: NDArray[np.int64]) -> None:
        rows = features.astype(np.float64)
        present, which = np.unique(labels, return_inverse=True)
        self.means = np.stack([rows[which == label].mean(axis=0) for label in range(len(present))])
        centred = rows - self.means[which]
        covariance = centred.T @ centred / len(rows) + RIDGE * np.eye(rows.shape[1])
        self._root = np.linalg.cholesky(covariance)

    def unlikely(self, rng: np.random.Generator) -> Floats:
        """Draw for each class the least likely of `SAMPLED` samples: (C, D).

        How likely a sample is depends on its whitened length alone, whose square is chi-squared;
        so the longest of n is drawn at once, as the (u ** (1 / n))-quantile, without the others.
        """
        try:
            chi2 = import_module("scipy.stats").chi2
        except ImportError:
            raise InputError("VOS needs scipy: pip install 'synood[bench]'") from None
        count, dim = self.means.shape
        directions = rng.normal(size=(count, dim))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        lengths = np.sqrt(chi2.isf(-np.expm1(np.log(rng.uniform(size=count)) / SAMPLED), dim))
        drawn: Floats = (self.means + lengths[:, None] * directions @ self._root.T).astype("f4")
        return drawn


SYSTEMS = (System(VOS, fit_vos, seeded=True),)
