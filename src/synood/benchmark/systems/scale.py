"""SCALE: penultimate features scaled by how much of their sum the largest hold."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from synood import scores
from synood.benchmark.protocol.methods import CLASSIFIER, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.benchmark.systems._shaping import shaped_energy

if TYPE_CHECKING:
    from synood.benchmark.protocol.fit_inputs import FitInputs

SCALE = Method(
    "scale",
    "SCALE",
    "Xu et al., ICLR 2024, arXiv 2310.00227",
    "inductive",
    (CLASSIFIER,),
)
SHARES = (0.85, 0.65, 0.7, 0.75, 0.8, 0.9, 0.95)  # OpenOOD, configs/postprocessors/scale.yml


def fit_scale(inputs: FitInputs, seed: int) -> Fitted:
    """Choose the fraction of small activations on validation images."""
    weight, bias = inputs.classifier.head
    options = [
        Option({"share": share}, shaped_energy(partial(scores.scale, share=share), weight, bias))
        for share in SHARES
    ]
    return best_of(inputs, options)


SYSTEMS = (System(SCALE, fit_scale),)
