"""NNGuide: the energy, guided by the confidence of the nearest training images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood import scores
from synood.benchmark.protocol.methods import CLASSIFIER, IMAGES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of

if TYPE_CHECKING:
    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.system import Scorer

NNGUIDE = Method(
    "nnguide",
    "NNGuide",
    "Park et al., ICCV 2023, arXiv 2309.14888",
    "inductive",
    (CLASSIFIER, IMAGES),
)
NEIGHBOURS = (10, 1, 5, 20, 50, 100)  # 10 in the authors' ood_detectors/nnguide.py:18


def fit_nnguide(inputs: FitInputs, seed: int) -> Fitted:
    """Keep every training image; choose k among those that are no more than they are."""
    train = inputs.train
    guided = scores.GuidedNeighbours.fit(train.penultimate, train.logits)

    def scorer(k: int) -> Scorer:
        return lambda encoded: guided.scores(encoded.penultimate, encoded.logits, [k])[:, 0]

    ks = [k for k in NEIGHBOURS if k <= len(train)]
    return best_of(inputs, [Option({"k": k}, scorer(k)) for k in ks], guided.bank.size)


SYSTEMS = (System(NNGUIDE, fit_nnguide),)
