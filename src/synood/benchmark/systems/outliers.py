"""Systems that make up outliers among the features, and learn to tell the images from them.

The papers train a network (VOS) or tune half of one (NPOS) on them; here the features are the
image-text encoder's and stay as they are, and a head on them is trained: in the papers' style.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.benchmark.protocol.methods import ENCODER, IMAGES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.benchmark.systems._heads import EnergyHead, OutlierHead
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
NPOS = Method(
    "npos",
    "NPOS-style",
    "after Tao et al., ICLR 2023, arXiv 2303.02966: an outlier head on frozen features",
    "inductive",
    (ENCODER, IMAGES),
)
# VOS, train_virtual.py: of so many samples of each class the least likely one; added to the
# covariance's diagonal
SAMPLED, RIDGE = 10_000, 1e-4
LENGTHS = (10.0, 3.0, 1.0)  # ours: a trained network's features are not of unit length
# NPOS, train_npos.py: noise around each boundary image, of which the two farthest are kept;
# K and select were 400 and 300 of 1,000 images of each class
CANDIDATES, KEPT = 1_000, 2
NEIGHBOUR_SHARE, BOUNDARY_SHARE = 0.4, 0.3
SPREADS = (0.1, 0.05, 0.02)  # cov_mat, 0.1 in theirs


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


def fit_npos(inputs: FitInputs, seed: int) -> Fitted:
    """Train an outlier head on noise around boundary images; choose the noise on validation."""
    images, labels = labelled(inputs.train)
    options, size = [], 0
    for spread in SPREADS[: 1 if not inputs.validation_ood else None]:
        losses = Losses()
        head = OutlierHead.fit(images, around_boundary(images, labels, spread, seed), seed, losses)
        options.append(Option({"spread": spread, "loss": losses.to_json()}, head.of_set))
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


def around_boundary(images: Floats, labels: NDArray[np.int64], spread: float, seed: int) -> Floats:
    """Return outliers (M, D) of unit length: the farthest of the noise around boundary images.

    In each class the images whose k-th neighbour is farthest are the boundary; to each the same
    Gaussian noise is added, and the points farthest from the class's images are kept.
    A class of one image has no neighbours and is an `InputError`.
    """
    noise = spread * np.random.default_rng(seed).normal(size=(CANDIDATES, images.shape[1]))
    found = []
    for label in np.unique(labels):
        own = images[labels == label].astype(np.float64)
        if len(own) < 2:
            raise InputError(f"NPOS: class {int(label)} has one image; outliers need two or more")
        k = max(1, round(NEIGHBOUR_SHARE * (len(own) - 1)))
        boundary = own[np.argsort(-_neighbour_distance(own, own, k + 1), kind="stable")]
        for image in boundary[: max(1, round(BOUNDARY_SHARE * len(own)))]:
            points = scores.normalise(image + noise).astype(np.float64)
            farthest = np.argsort(-_neighbour_distance(points, own, k), kind="stable")
            found.append(points[farthest[:KEPT]])
    return np.concatenate(found).astype(np.float32)


def _neighbour_distance(
    points: NDArray[np.float64], own: NDArray[np.float64], k: int
) -> NDArray[np.float64]:
    """Distance (N,) of unit points to the k-th nearest of the unit rows `own`."""
    nearest = np.partition(-(points @ own.T), k - 1, axis=1)[:, k - 1]
    distance: NDArray[np.float64] = np.sqrt(np.maximum(2 + 2 * nearest, 0))
    return distance


SYSTEMS = (System(VOS, fit_vos, seeded=True), System(NPOS, fit_npos, seeded=True))
