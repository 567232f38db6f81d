"""SHE: the inner product with the mean feature of the predicted class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood import scores
from synood.benchmark.protocol.methods import CLASSIFIER, IMAGES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._training import class_labels

if TYPE_CHECKING:
    from synood.benchmark.protocol.fit_inputs import FitInputs

SHE = Method(
    "she",
    "SHE",
    "Zhang et al., ICLR 2023: simplified Hopfield energy, by the inner product",
    "inductive",
    (CLASSIFIER, IMAGES),
    link="https://openreview.net/forum?id=KkazG4lgKL",
)


def fit_she(inputs: FitInputs, seed: int) -> Fitted:
    """Average the rightly named training images of each class (she_postprocessor.py:55-61)."""
    train = inputs.train
    stored = scores.StoredPatterns.fit(train.penultimate, train.logits, class_labels(train))
    return Fitted(
        lambda encoded: stored.score(encoded.penultimate, encoded.logits),
        added_parameters=stored.patterns.size,
    )


SYSTEMS = (System(SHE, fit_she),)
