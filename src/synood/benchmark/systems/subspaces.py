"""One-dimensional subspaces: the angle between a feature and the nearest class's direction.

The paper trains a network whose last layer is random and orthogonal, so that each class lies along
one direction. Here the classifier's features are as they are, and the test is the paper's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.benchmark.protocol.methods import CLASSIFIER, IMAGES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._training import class_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

SUBSPACES = Method(
    "subspaces",
    "1D subspaces-style",
    "after Zaeemzadeh et al., CVPR 2021: the angle to a class's first singular vector",
    "inductive",
    (CLASSIFIER, IMAGES),
    link="https://github.com/zaeemzadeh/OOD",
)


def fit_subspaces(inputs: FitInputs, seed: int) -> Fitted:
    """Take the first singular vector of each class's training features (evaluate.py:37-41)."""
    train, labels = inputs.train.penultimate, class_labels(inputs.train)
    lines = np.stack([first_direction(train[labels == label]) for label in np.unique(labels)])
    return Fitted(lambda encoded: minus_angle(encoded.penultimate, lines), {}, lines.size)


def first_direction(rows: Floats) -> Doubles:
    """First right singular vector (P,) of the features (N, P) of a class, not centred."""
    wide = rows.astype(np.float64)
    _, directions = np.linalg.eigh(wide.T @ wide)
    first: Doubles = directions[:, -1]
    return first


def minus_angle(features: Floats, lines: Doubles) -> Floats:
    """Minus the angle between (N, P) features and the nearest of (C, P) lines, in [-pi/2, 0].

    By its tangent, since the arc cosine of nearly 1 has few digits (evaluate.py:64-75).
    """
    unit = scores.normalise(features).astype(np.float64)
    along = np.abs(unit @ lines.T)
    nearest = along.argmax(axis=1)
    cosine = np.take_along_axis(along, nearest[:, None], axis=1)[:, 0]
    own = lines[nearest]
    aside = np.linalg.norm(unit - np.einsum("np,np->n", unit, own)[:, None] * own, axis=1)
    return np.asarray(-np.arctan2(aside, cosine), np.float32)


SYSTEMS = (System(SUBSPACES, fit_subspaces),)
