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
TAIL = 20  # ibid., line 18


def fit_openmax(inputs: FitInputs, seed: int) -> Fitted:
    """Fit the tails; choose how many of the likeliest classes are revised on validation images."""
    train = inputs.train
    fitted = scores.OpenMax.fit(train.logits, class_labels(train), TAIL)

    def scorer(revised: int) -> Scorer:
        return lambda encoded: fitted.score(encoded.logits, revised)

    options = [Option({"revised": n, "tail": TAIL}, scorer(n)) for n in REVISED]
    return best_of(inputs, options, fitted.means.size + 3 * len(fitted.scale))


SYSTEMS = (System(OPENMAX, fit_openmax),)
