"""fDBD: the mean distance to the decision boundaries of the classes not predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood import scores
from synood.benchmark.protocol.methods import CLASSIFIER, IMAGES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of

if TYPE_CHECKING:
    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.system import Scorer

FDBD = Method(
    "fdbd",
    "fDBD",
    "Liu and Qin, ICML 2024, arXiv 2312.11536",
    "inductive",
    (CLASSIFIER, IMAGES),
)


def fit_fdbd(inputs: FitInputs, seed: int) -> Fitted:
    """Choose what the distance is divided by on validation images, as in OpenOOD.

    The paper divides by the distance to the training mean (fdbd_postprocessor.py:81-87).
    """
    fitted = scores.DecisionBoundaries.fit(inputs.train.penultimate, *inputs.classifier.head)

    def scorer(centred: bool) -> Scorer:
        return lambda encoded: fitted.score(encoded.penultimate, centred)

    options = [Option({"centred": centred}, scorer(centred)) for centred in (True, False)]
    return best_of(inputs, options, fitted.middle.size + fitted.gaps.size)


SYSTEMS = (System(FDBD, fit_fdbd),)
