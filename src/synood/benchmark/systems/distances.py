"""Systems that measure how far an image's penultimate features are from the training images'."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.benchmark.protocol.methods import CLASSIFIER, IMAGES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.system import Scorer

_NEEDS = (CLASSIFIER, IMAGES)
KNN = Method("knn", "KNN", "Sun et al., ICML 2022, arXiv 2204.06507", "inductive", _NEEDS)
VIM = Method("vim", "ViM", "Wang et al., CVPR 2022, arXiv 2203.10807", "inductive", _NEEDS)
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
COSINE = Method(
    "cosine",
    "Cosine",
    "Ngoc-Hieu et al., 2023, arXiv 2306.14920: the nearest class mean by the angle",
    "inductive",
    _NEEDS,
)
RBF = Method(
    "rbf",
    "RBF",
    "van Amersfoort et al., ICML 2020, arXiv 2003.02037: the kernel alone, the network as it is",
    "inductive",
    _NEEDS,
)
NEIGHBOURS = (1000, 1, 5, 10, 20, 50, 100, 200, 500)  # 1,000 for ImageNet in the paper


def fit_knn(inputs: FitInputs, seed: int) -> Fitted:
    """Keep the training images; choose k among those that are fewer than they are."""
    train = inputs.train.penultimate
    neighbours = scores.Neighbours.fit(train)

    def scorer(k: int) -> Scorer:
        return lambda encoded: neighbours.scores(encoded.penultimate, [k])[:, 0]

    ks = [k for k in NEIGHBOURS if k <= len(train)]
    return best_of(inputs, [Option({"k": k}, scorer(k)) for k in ks], train.size)


def fit_vim(inputs: FitInputs, seed: int) -> Fitted:
    """Find the principal space and the scale of the virtual logit on the training images."""
    fitted = scores.VirtualLogit.fit(inputs.train.penultimate, *inputs.classifier.head)
    left, width = fitted.rest.shape[1], fitted.rest.shape[0]
    return Fitted(
        lambda encoded: fitted.score(encoded.penultimate),
        {"principal": width - left, "alpha": fitted.alpha},
        fitted.rest.size + fitted.origin.size + 1,
    )


def fit_mahalanobis(inputs: FitInputs, seed: int) -> Fitted:
    """Estimate class means and their shared covariance."""
    fitted = scores.Gaussians.fit(inputs.train.penultimate, _labels(inputs))
    return Fitted(
        lambda encoded: fitted.score(encoded.penultimate),
        added_parameters=fitted.whitening.size + fitted.centres.size,
    )


def fit_relative(inputs: FitInputs, seed: int) -> Fitted:
    """As Mahalanobis, beside one Gaussian for all training images."""
    train, labels = inputs.train.penultimate, _labels(inputs)
    fitted = scores.Gaussians.fit(train, labels)
    background = scores.Gaussians.fit(train, np.zeros_like(labels))
    return Fitted(
        lambda encoded: fitted.score(encoded.penultimate, background),
        added_parameters=2 * fitted.whitening.size + fitted.centres.size + background.centres.size,
    )


def fit_cosine(inputs: FitInputs, seed: int) -> Fitted:
    """Average each class."""
    means = scores.ClassMeans.fit(inputs.train.penultimate, _labels(inputs))
    return Fitted(lambda encoded: means.cosine(encoded.penultimate), {}, means.means.size)


def fit_rbf(inputs: FitInputs, seed: int) -> Fitted:
    """Average each class; the length scale is the training images' own spread."""
    means = scores.ClassMeans.fit(inputs.train.penultimate, _labels(inputs))
    return Fitted(
        lambda encoded: means.rbf(encoded.penultimate),
        {"spread": means.spread},
        means.means.size + 1,
    )


def _labels(inputs: FitInputs) -> NDArray[np.int64]:
    if inputs.train.labels is None:
        raise InputError(f"set {inputs.train.name!r}: has no class labels to learn from")
    return inputs.train.labels


SYSTEMS = (
    System(KNN, fit_knn),
    System(VIM, fit_vim),
    System(MAHALANOBIS, fit_mahalanobis),
    System(RELATIVE, fit_relative),
    System(COSINE, fit_cosine),
    System(RBF, fit_rbf),
)
