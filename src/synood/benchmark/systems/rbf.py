"""RBF: a Gaussian kernel of the distance to the nearest class mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood import scores
from synood.benchmark.protocol.methods import CLASSIFIER, IMAGES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._training import class_labels

if TYPE_CHECKING:
    from synood.benchmark.protocol.fit_inputs import FitInputs

_NEEDS = (CLASSIFIER, IMAGES)
RBF = Method(
    "rbf",
    "RBF",
    "van Amersfoort et al., ICML 2020, arXiv 2003.02037: the kernel alone, the network as it is",
    "inductive",
    _NEEDS,
)


def fit_rbf(inputs: FitInputs, seed: int) -> Fitted:
    """Average each class; the length scale is the training images' own spread."""
    means = scores.ClassMeans.fit(inputs.train.penultimate, class_labels(inputs.train))
    return Fitted(
        lambda encoded: means.rbf(encoded.penultimate),
        {"spread": means.spread},
        means.means.size + 1,
    )


SYSTEMS = (System(RBF, fit_rbf),)
