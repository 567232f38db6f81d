"""DICE: the weights of the last layer that contribute least are dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

DICE = Method(
    "dice",
    "DICE",
    "Sun and Li, ECCV 2022, arXiv 2111.09805",
    "inductive",
    (CLASSIFIER, IMAGES),
)
SPARSITIES = (0.7, 0.1, 0.3, 0.5, 0.9)


def fit_dice(inputs: FitInputs, seed: int) -> Fitted:
    """Drop the weights that contribute least on the training images."""
    weight, bias = inputs.classifier.head
    options = [
        Option(
            {"sparsity": sparsity},
            shaped_energy(
                lambda seen: seen,
                scores.sparse_weight(inputs.train.penultimate, weight, sparsity),
                bias,
            ),
        )
        for sparsity in SPARSITIES
    ]
    return best_of(inputs, options)


SYSTEMS = (System(DICE, fit_dice),)
