"""NegLabel: class names against negative labels mined from a list of words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.benchmark.protocol.methods import NEGLABEL
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._mining import fit_mined

if TYPE_CHECKING:
    from synood.benchmark.protocol.fit_inputs import FitInputs


def fit_neglabel(inputs: FitInputs, seed: int) -> Fitted:
    """Mine as the recipe says."""
    return fit_mined(inputs, inputs.recipe.mining)


SYSTEMS = (System(NEGLABEL, fit_neglabel),)
