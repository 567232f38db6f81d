"""Systems that read nothing but a classifier's logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.benchmark import baselines
from synood.benchmark.methods import ENERGY, MSP
from synood.benchmark.systems.interface import Fitted, System

if TYPE_CHECKING:
    from synood.benchmark.material import Material


def fit_msp(material: Material, seed: int) -> Fitted:
    """Nothing to fit."""
    return Fitted(baselines.score_msp)


def fit_energy(material: Material, seed: int) -> Fitted:
    """Nothing to fit; the temperature is 1, as published."""
    return Fitted(baselines.score_energy)


SYSTEMS = (System(MSP, fit_msp), System(ENERGY, fit_energy))
