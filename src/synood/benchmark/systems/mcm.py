"""MCM: the largest softmax probability of the similarities to the class names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.benchmark.protocol import baselines
from synood.benchmark.protocol.methods import MCM
from synood.benchmark.protocol.system import Fitted, System

if TYPE_CHECKING:
    from synood.benchmark.protocol.fit_inputs import FitInputs


def fit_mcm(inputs: FitInputs, seed: int) -> Fitted:
    """Choose the temperature on validation images, else keep the published 1."""
    if not inputs.validation_ood:
        return Fitted(baselines.mcm_scorer(inputs.class_features, 1.0))
    choice = baselines.choose_mcm(inputs.class_features, inputs.validation, inputs.validation_ood)
    return Fitted(baselines.mcm_scorer(inputs.class_features, choice.temperature), choice.to_json())


SYSTEMS = (System(MCM, fit_mcm),)
