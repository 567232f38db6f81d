"""ASH: most penultimate features are pruned; the others are kept, set equal, or scaled."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from synood import scores
from synood.benchmark.protocol.methods import CLASSIFIER, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.benchmark.systems._shaping import shaped_energy

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.system import Fit

    Shape = Callable[..., NDArray[Any]]  # (N, P) features -> (N, P) features

_PAPER = "Djurisic et al., ICLR 2023, arXiv 2209.09858"
ASH_P = Method("ash-p", "ASH-P", _PAPER, "inductive", (CLASSIFIER,))
ASH_B = Method("ash-b", "ASH-B", _PAPER, "inductive", (CLASSIFIER,))
ASH_S = Method("ash-s", "ASH-S", _PAPER, "inductive", (CLASSIFIER,))
PRUNED = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def _fit(shape: Shape, published: float) -> Fit:
    def fit(inputs: FitInputs, seed: int) -> Fitted:
        weight, bias = inputs.classifier.head
        shares = (published, *(share for share in PRUNED if share != published))
        options = [
            Option(
                {"share": share},
                shaped_energy(partial(shape, share=share), weight, bias),
            )
            for share in shares
        ]
        return best_of(inputs, options)

    return fit


SYSTEMS = (
    System(ASH_P, _fit(scores.ash_p, 0.6)),
    System(ASH_B, _fit(scores.ash_b, 0.65)),
    System(ASH_S, _fit(scores.ash_s, 0.9)),
)
