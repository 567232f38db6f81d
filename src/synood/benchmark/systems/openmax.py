"""OpenMax: the probability of an unknown class, by how far logits are from the classes' means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood import scores
from synood.benchmark.protocol.methods import CLASSIFIER, IMAGES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.benchmark.systems._training import class_labels

if TYPE_CHECKING:
    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.system import Scorer

OPENMAX = Method(
    "openmax",
    "OpenMax",
    "Bendale and Boult, CVPR 2016, arXiv 1511.06233, on the logits",
    "inductive",
    (CLASSIFIER, IMAGES),
)
REVISED = (3, 1, 5, 10)  # OpenOOD, openmax_postprocessor.py:16
TAILS = (20, 10, 5)  # largest distances of a class; ibid., line 18, of a thousand images


def fit_openmax(inputs: FitInputs, seed: int) -> Fitted:
    """Choose how long the tails are and how many classes are revised on validation images."""
    labels, logits = class_labels(inputs.train), inputs.train.logits

    def scorer(fitted: scores.OpenMax, revised: int) -> Scorer:
        return lambda encoded: fitted.score(encoded.logits, revised)

    options = [
        Option({"revised": revised, "tail": tail}, scorer(fitted, revised))
        for tail in TAILS
        for fitted in [scores.OpenMax.fit(logits, labels, tail)]
        for revised in REVISED
    ]
    classes = logits.shape[1]
    return best_of(inputs, options, classes * (classes + 3))


SYSTEMS = (System(OPENMAX, fit_openmax),)
