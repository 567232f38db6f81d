"""Systems that change what a classifier's last linear layer sees, or look at its gradient.

All but GradNorm end in the energy of the changed logits, as their papers do.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from synood import scores
from synood.benchmark.protocol.methods import CLASSIFIER, IMAGES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.system import Fit, Scorer

    Shape = Callable[..., NDArray[Any]]  # (N, P) features -> (N, P) features

GRADNORM = Method(
    "gradnorm",
    "GradNorm",
    "Huang, Geng and Li, NeurIPS 2021, arXiv 2110.00218",
    "inductive",
    (CLASSIFIER,),
)
REACT = Method(
    "react",
    "ReAct",
    "Sun, Guo and Li, NeurIPS 2021, arXiv 2111.12797",
    "inductive",
    (CLASSIFIER, IMAGES),
)
DICE = Method(
    "dice",
    "DICE",
    "Sun and Li, ECCV 2022, arXiv 2111.09805",
    "inductive",
    (CLASSIFIER, IMAGES),
)
_ASH_PAPER = "Djurisic et al., ICLR 2023, arXiv 2209.09858"
ASH_P = Method("ash-p", "ASH-P", _ASH_PAPER, "inductive", (CLASSIFIER,))
ASH_B = Method("ash-b", "ASH-B", _ASH_PAPER, "inductive", (CLASSIFIER,))
ASH_S = Method("ash-s", "ASH-S", _ASH_PAPER, "inductive", (CLASSIFIER,))

# The published setting for ImageNet stands first.
REACT_QUANTILES = (0.9, 0.8, 0.85, 0.95, 0.99)
DICE_SPARSITIES = (0.7, 0.1, 0.3, 0.5, 0.9)
ASH_SHARES = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def fit_gradnorm(inputs: FitInputs, seed: int) -> Fitted:
    """Nothing to fit; the temperature is 1, as published."""
    return Fitted(lambda encoded: scores.gradnorm(encoded.penultimate, encoded.logits))


def fit_react(inputs: FitInputs, seed: int) -> Fitted:
    """Clip at a quantile of the training images' activations."""
    weight, bias = inputs.classifier.head
    limits = np.quantile(inputs.train.penultimate, REACT_QUANTILES).tolist()
    options = [
        Option(
            {"quantile": quantile, "limit": limit},
            _energy(partial(scores.clipped, limit=limit), weight, bias),
        )
        for quantile, limit in zip(REACT_QUANTILES, limits, strict=True)
    ]
    return best_of(inputs, options)


def fit_dice(inputs: FitInputs, seed: int) -> Fitted:
    """Drop the weights that contribute least on the training images."""
    weight, bias = inputs.classifier.head
    options = [
        Option(
            {"sparsity": sparsity},
            _energy(
                lambda seen: seen,
                scores.sparse_weight(inputs.train.penultimate, weight, sparsity),
                bias,
            ),
        )
        for sparsity in DICE_SPARSITIES
    ]
    return best_of(inputs, options)


def _fit_ash(shape: Shape, published: float) -> Fit:
    def fit(inputs: FitInputs, seed: int) -> Fitted:
        weight, bias = inputs.classifier.head
        shares = (published, *(share for share in ASH_SHARES if share != published))
        options = [
            Option(
                {"share": share},
                _energy(partial(shape, share=share), weight, bias),
            )
            for share in shares
        ]
        return best_of(inputs, options)

    return fit


def _energy(
    shape: Shape,
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
) -> Scorer:
    def score(encoded: EncodedSet) -> NDArray[np.float32]:
        return scores.energy(scores.linear(shape(encoded.penultimate), weight, bias))

    return score


SYSTEMS = (
    System(GRADNORM, fit_gradnorm),
    System(REACT, fit_react),
    System(DICE, fit_dice),
    System(ASH_P, _fit_ash(scores.ash_p, 0.6)),
    System(ASH_B, _fit_ash(scores.ash_b, 0.65)),
    System(ASH_S, _fit_ash(scores.ash_s, 0.9)),
)
