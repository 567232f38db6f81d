"""KNN: the distance to the k-th nearest training image, in penultimate features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood import scores
from synood.benchmark.protocol.methods import CLASSIFIER, IMAGES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of

if TYPE_CHECKING:
    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.system import Scorer

_NEEDS = (CLASSIFIER, IMAGES)
KNN = Method("knn", "KNN", "Sun et al., ICML 2022, arXiv 2204.06507", "inductive", _NEEDS)
NEIGHBOURS = (1000, 1, 5, 10, 20, 50, 100, 200, 500)  # 1,000 for ImageNet in the paper


def fit_knn(inputs: FitInputs, seed: int) -> Fitted:
    """Keep the training images; choose k among those that are fewer than they are."""
    train = inputs.train.penultimate
    neighbours = scores.Neighbours.fit(train)

    def scorer(k: int) -> Scorer:
        return lambda encoded: neighbours.scores(encoded.penultimate, [k])[:, 0]

    ks = [k for k in NEIGHBOURS if k <= len(train)]
    return best_of(inputs, [Option({"k": k}, scorer(k)) for k in ks], train.size)


SYSTEMS = (System(KNN, fit_knn),)
