"""GradNorm: the gradient of the last linear layer, towards uniform probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synood import scores
from synood.benchmark.protocol.methods import CLASSIFIER, Method
from synood.benchmark.protocol.system import Fitted, System

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs

    Shape = Callable[..., NDArray[Any]]  # (N, P) features -> (N, P) features

GRADNORM = Method(
    "gradnorm",
    "GradNorm",
    "Huang, Geng and Li, NeurIPS 2021, arXiv 2110.00218",
    "inductive",
    (CLASSIFIER,),
)


def fit_gradnorm(inputs: FitInputs, seed: int) -> Fitted:
    """Nothing to fit; the temperature is 1, as published."""
    return Fitted(lambda encoded: scores.gradnorm(encoded.penultimate, encoded.logits))


SYSTEMS = (System(GRADNORM, fit_gradnorm),)
