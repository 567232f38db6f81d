"""Cosine: the angle between an image and the nearest class mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood import scores
from synood.benchmark.protocol.methods import CLASSIFIER, IMAGES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._training import class_labels

if TYPE_CHECKING:
    from synood.benchmark.protocol.fit_inputs import FitInputs

_NEEDS = (CLASSIFIER, IMAGES)
COSINE = Method(
    "cosine",
    "Cosine",
    "Ngoc-Hieu et al., 2023, arXiv 2306.14920: the nearest class mean by the angle",
    "inductive",
    _NEEDS,
)


def fit_cosine(inputs: FitInputs, seed: int) -> Fitted:
    """Average each class."""
    means = scores.ClassMeans.fit(inputs.train.penultimate, class_labels(inputs.train))
    return Fitted(lambda encoded: means.cosine(encoded.penultimate), {}, means.means.size)


SYSTEMS = (System(COSINE, fit_cosine),)
