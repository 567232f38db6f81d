"""Systems that read nothing but a classifier's logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood import scores
from synood.benchmark.protocol.methods import CLASSIFIER, ENERGY, MSP, Method
from synood.benchmark.protocol.system import Fitted, System

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.system import Fit

MAX_LOGIT = Method(
    "maxlogit",
    "MaxLogit",
    "Hendrycks et al., ICML 2022, arXiv 1911.11132",
    "inductive",
    (CLASSIFIER,),
)
GEN = Method(
    "gen",
    "GEN",
    "Liu, Lochman and Zach, CVPR 2023",
    "inductive",
    (CLASSIFIER,),
)


def _fit(score: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> Fit:
    """Nothing to fit: the published settings, the same for every image."""

    def fit(inputs: FitInputs, seed: int) -> Fitted:
        return Fitted(lambda encoded: score(encoded.logits))

    return fit


SYSTEMS = (
    System(MSP, _fit(scores.msp)),
    System(MAX_LOGIT, _fit(scores.max_logit)),
    System(ENERGY, _fit(scores.energy)),
    System(GEN, _fit(scores.gen)),
)
