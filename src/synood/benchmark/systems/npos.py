"""NPOS-style: a head trained on noise around the images at the boundary of each class.

The paper tunes half of a network on them; here the image-text encoder's features stay as they are
and a head on them is trained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.benchmark.protocol.methods import ENCODER, IMAGES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.benchmark.systems._heads import OutlierHead
from synood.benchmark.systems._training import Losses, labelled
from synood.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs

    Floats = NDArray[np.float32]

NPOS = Method(
    "npos",
    "NPOS-style",
    "after Tao et al., ICLR 2023, arXiv 2303.02966: an outlier head on frozen features",
    "inductive",
    (ENCODER, IMAGES),
)
# NPOS, train_npos.py: noise around each boundary image, of which the two farthest are kept;
# K and select were 400 and 300 of 1,000 images of each class
CANDIDATES, KEPT = 1_000, 2
NEIGHBOUR_SHARE, BOUNDARY_SHARE = 0.4, 0.3
SPREADS = (0.1, 0.05, 0.02)  # cov_mat, 0.1 in theirs


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


SYSTEMS = (System(NPOS, fit_npos, seeded=True),)
