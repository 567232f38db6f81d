"""What a synthetic image is pulled towards: the guide's logits -> one loss per image."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import torch

Energy: TypeAlias = Callable[[torch.Tensor, float], torch.Tensor]
Objective: TypeAlias = Callable[[torch.Tensor, float, float], torch.Tensor]


def energy(logits: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """Free energy E = -T logsumexp(logits / T) of each row; in-distribution images have a low one.

    `logits` is (B, C) and the result (B,), in the logits' unit (Liu et al. 2020, equation 4).
    The score `synood.scores.energy` is its negative.
    """
    return -temperature * torch.logsumexp(logits / temperature, dim=1)


def energy_hinge(logits: torch.Tensor, margin: float, temperature: float = 1.0) -> torch.Tensor:
    """Squared shortfall of each row's energy below `margin` (m_out): relu(m_out - E)^2.

    Lowering it pushes the energy up to `margin`, where it is zero and so is its gradient. This is
    the term for outliers of Liu et al. 2020, equation 8, and what equation 7 of the paper must
    mean: as printed, m_out + E, its minimum would make the image ever more in-distribution.
    `logits` is (B, C), `margin` in the logits' unit, `temperature` is tau; returns (B,).
    """
    return torch.relu(margin - energy(logits, temperature)).square()


def margin_energy(masses: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """Log mass on the negative labels less the log mass on the class names, of each row.

    The encoder's margin with its sign turned: like an energy it is low for in-distribution images
    and high beyond the boundary, and 0 where the ungrouped score of equation 2 is one half; that
    score is sigmoid(-E). `masses` is (B, 2), class names first, as `MarginGuide` gives them, and
    the result (B,). They have their temperature in them already, and of two logits any other
    cancels out: `temperature` changes nothing. [ours]

    >>> margin_energy(torch.tensor([[2.0, -1.0]]))
    tensor([-3.])
    """
    classes, negatives = masses.unbind(dim=1)
    return negatives - classes


def margin_hinge(masses: torch.Tensor, target: float, temperature: float = 1.0) -> torch.Tensor:
    """Squared shortfall of each row's `margin_energy` E below `target`: relu(target - E)^2.

    Lowering it takes the margin down to the boundary and no farther: there the loss is zero and
    so is its gradient. `masses` is (B, 2), `target` in the unit of a log odds; returns (B,). [ours]
    """
    return torch.relu(target - margin_energy(masses)).square()


def uniformity(
    logits: torch.Tensor, target: float = -5.0, temperature: float = 1.0
) -> torch.Tensor:
    """Squared distance between `target` and the mean log-probability of each row.

    The mean log-probability is -log C - KL(uniform || softmax), so it never exceeds -log C. With
    more than exp(-target) classes (148 for -5) the target is out of reach, the loss is least at
    the uniform prediction and there equals (log C + target)^2; with fewer classes it is zero on
    a surface of predictions that are not uniform. `logits` is (B, C); returns (B,).
    Source: the authors' code, generate_near_ood_sample.py:73-75, without its mean over the batch.
    """
    log_probability = torch.log_softmax(logits / temperature, dim=1)
    return (target - log_probability.mean(dim=1)).square()


def msp_divergence(
    logits: torch.Tensor, target: float = 0.0, temperature: float = 1.0
) -> torch.Tensor:
    """Loss "msp" of the authors' code: the same number for every image, so its gradient is zero.

    It gives probabilities p to a divergence that takes their logarithms: the mean over C classes of
    u (log u - p) with u = 1/C, which is -(log C + 1/C) / C since the p add up to 1. What is left of
    a gradient is rounding. `logits` is (B, C); `target` has no effect; returns (B,).
    Source: generate_near_ood_sample.py:69-71, without its mean over the batch.
    """
    share = 1 / logits.shape[1]
    probability = torch.softmax(logits / temperature, dim=1)
    return (share * (math.log(share) - probability)).mean(dim=1)


FLAT = frozenset({"msp"})
"""Objectives whose gradient is zero everywhere: nothing is gained by computing it."""

OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        "energy": energy_hinge,
        "uniformity": uniformity,
        "margin": margin_hinge,
        "msp": msp_divergence,
    }
)
"""Objective by name: (logits (B, C), target, temperature) -> loss (B,)."""

ENERGIES: Mapping[str, Energy] = MappingProxyType(
    {"energy": energy, "uniformity": energy, "margin": margin_energy, "msp": energy}
)
"""The energy that is recorded of an image, by objective: (logits (B, C), temperature) -> (B,)."""
