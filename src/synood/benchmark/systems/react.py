"""ReAct: penultimate features clipped at a quantile of those of training images."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from synood import scores
from synood.benchmark.protocol.methods import CLASSIFIER, IMAGES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.benchmark.systems._shaping import shaped_energy

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs

    Shape = Callable[..., NDArray[Any]]  # (N, P) features -> (N, P) features

REACT = Method(
    "react",
    "ReAct",
    "Sun, Guo and Li, NeurIPS 2021, arXiv 2111.12797",
    "inductive",
    (CLASSIFIER, IMAGES),
)
QUANTILES = (0.9, 0.8, 0.85, 0.95, 0.99)


def fit_react(inputs: FitInputs, seed: int) -> Fitted:
    """Clip at a quantile of the training images' activations."""
    weight, bias = inputs.classifier.head
    limits = np.quantile(inputs.train.penultimate, QUANTILES).tolist()
    options = [
        Option(
            {"quantile": quantile, "limit": limit},
            shaped_energy(partial(scores.clipped, limit=limit), weight, bias),
        )
        for quantile, limit in zip(QUANTILES, limits, strict=True)
    ]
    return best_of(inputs, options)


SYSTEMS = (System(REACT, fit_react),)
