"""NegLabel: class names against negative labels mined from a list of words."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from synood.benchmark.protocol.methods import NEGLABEL, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._mining import fit_mined

if TYPE_CHECKING:
    from synood.benchmark.protocol.fit_inputs import FitInputs


KEPT = Method(
    "neglabel-released",
    "NegLabel (released)",
    "Jiang et al., ICLR 2024, arXiv 2403.20078, whose negatives may be class names",
    "inductive",
    NEGLABEL.needs,
)


def fit_neglabel(inputs: FitInputs, seed: int) -> Fitted:
    """Mine as the recipe says."""
    return fit_mined(inputs, inputs.recipe.mining)


def fit_kept(inputs: FitInputs, seed: int) -> Fitted:
    """Mine as the authors do: forms of class names may be among the negatives."""
    return fit_mined(inputs, replace(inputs.recipe.mining, exclude_class_names=False))


SYSTEMS = (System(NEGLABEL, fit_neglabel), System(KEPT, fit_kept))
