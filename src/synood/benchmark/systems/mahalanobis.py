"""Mahalanobis, and relative Mahalanobis: the distance to the nearest class mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.benchmark.protocol.methods import CLASSIFIER, IMAGES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._training import class_labels

if TYPE_CHECKING:
    from synood.benchmark.protocol.fit_inputs import FitInputs

_NEEDS = (CLASSIFIER, IMAGES)
MAHALANOBIS = Method(
    "mahalanobis",
    "Mahalanobis",
    "Lee et al., NeurIPS 2018, arXiv 1807.03888, last layer alone and without its input noise",
    "inductive",
    _NEEDS,
)
RELATIVE = Method(
    "relative-mahalanobis",
    "Relative Mahalanobis",
    "Ren et al., ICML 2021 workshop on uncertainty in deep learning, arXiv 2106.09022",
    "inductive",
    _NEEDS,
)


def fit_mahalanobis(inputs: FitInputs, seed: int) -> Fitted:
    """Estimate class means and their shared covariance."""
    fitted = scores.Gaussians.fit(inputs.train.penultimate, class_labels(inputs.train))
    return Fitted(
        lambda encoded: fitted.score(encoded.penultimate),
        added_parameters=fitted.whitening.size + fitted.centres.size,
    )


def fit_relative(inputs: FitInputs, seed: int) -> Fitted:
    """The same as Mahalanobis, relative to one Gaussian for all training images."""
    train, labels = inputs.train.penultimate, class_labels(inputs.train)
    fitted = scores.Gaussians.fit(train, labels)
    background = scores.Gaussians.fit(train, np.zeros_like(labels))
    return Fitted(
        lambda encoded: fitted.score(encoded.penultimate, background),
        added_parameters=2 * fitted.whitening.size + fitted.centres.size + background.centres.size,
    )


SYSTEMS = (System(MAHALANOBIS, fit_mahalanobis), System(RELATIVE, fit_relative))
