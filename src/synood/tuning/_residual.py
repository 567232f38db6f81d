"""The residual projection as a torch module, for tuning; scoring needs only its numpy twin."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

EPS = 1e-5  # torch's default for a LayerNorm, as in the authors' code


class ResidualProjection(nn.Module):
    """z -> z + max(0, LN(W z + b)) for features (N, D); authors' ind_ood_projection.py:24-28, 44.

    start "random": as torch begins a Linear and a LayerNorm. The residual is then a non-negative
    vector of length about sqrt(D / 2), far from zero.

    start "identity": W and b at random, gain and bias of the norm zero, so that the residual is
    exactly zero. Its gradient is not: where its input is exactly 0, `relu` passes nothing back and
    would leave all of it dead for good, while the `clamp_min` used here - the same function, the
    other subgradient at 0 - passes everything. So the first step moves every gain and bias; from
    then on the units learn, W included, whose coordinate should grow, and the others, as a
    residual cannot lower a coordinate, stay at the identity. Factors from zero before the residual
    (one for all units, or one for each) did no better on features with a common mean, and would be
    parameters that the released projection does not have.
    """

    def __init__(
        self, dim: int, start: Literal["random", "identity"], generator: torch.Generator
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(dim)
        gain = 1.0 if start == "random" else 0.0
        self.weight = nn.Parameter(_uniform((dim, dim), bound, generator))
        self.bias = nn.Parameter(_uniform((dim,), bound, generator))
        self.norm_weight = nn.Parameter(torch.full((dim,), gain, dtype=torch.float32))
        self.norm_bias = nn.Parameter(torch.zeros(dim, dtype=torch.float32))

    def forward(self, features: Tensor) -> Tensor:
        """Project features (N, D), neither side normalised."""
        mapped = F.linear(features, self.weight, self.bias)
        normed = F.layer_norm(mapped, self.bias.shape, self.norm_weight, self.norm_bias, EPS)
        return features + normed.clamp_min(0)


def _uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator) -> Tensor:
    return torch.empty(shape, dtype=torch.float32).uniform_(-bound, bound, generator=generator)
