"""What a guide says of latents: images, losses and energies, and the gradient through both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from synood.synthesis.objectives import ENERGIES, OBJECTIVES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from synood.models.guide import Guide
    from synood.models.latents import LatentInpainter
    from synood.settings import GuidanceSettings

Memory: TypeAlias = Literal["plain", "slice", "checkpoint"]


@dataclass(frozen=True)
class GuideOutput:
    """What the guide says of a batch of latents; `gradient` is by these latents."""

    images: torch.Tensor  # (B, 3, S, S) in [0, 1]
    losses: torch.Tensor  # (B,)
    energies: torch.Tensor  # (B,)
    gradient: torch.Tensor | None  # (B, c, h, w)

    @classmethod
    def joined(cls, parts: Sequence[GuideOutput]) -> GuideOutput:
        """Concatenate the outputs for several pieces."""
        gradients = [part.gradient for part in parts if part.gradient is not None]
        return cls(
            images=torch.cat([part.images for part in parts]),
            losses=torch.cat([part.losses for part in parts]),
            energies=torch.cat([part.energies for part in parts]),
            gradient=torch.cat(gradients) if gradients else None,
        )


def guide_output(
    inpainter: LatentInpainter,
    guide: Guide,
    latents: torch.Tensor,
    settings: GuidanceSettings,
    memory: Memory,
    *,
    differentiate: bool,
    scaled: bool = False,
) -> GuideOutput:
    """Decode and guide; with `differentiate`, also d sum(losses) / d latents (equation 9).

    `latents` (B, c, h, w) are such as `decode` takes, or `scaled` ones as `encode` gives them. The
    losses are summed, so an image's gradient is the same with and without the others. `memory` says
    what the gradient may take: all images at once ("plain"), one after the other ("slice"), or one
    after the other with what lies between the decoder's blocks computed twice ("checkpoint").
    """

    def decode(piece: torch.Tensor) -> torch.Tensor:
        plain = inpainter.unscaled(piece) if scaled else piece
        return inpainter.decode(plain, recompute=memory == "checkpoint")

    pieces = [latents] if memory == "plain" else list(torch.split(latents, 1))
    outputs = [_of_piece(decode, guide, piece, settings, differentiate) for piece in pieces]
    return outputs[0] if len(outputs) == 1 else GuideOutput.joined(outputs)


def energies(guide: Guide, pixels: torch.Tensor, settings: GuidanceSettings) -> list[float]:
    """Return the energy of each image of `pixels` (B, 3, S, S) in [0, 1] by the objective."""
    with torch.no_grad():
        logits = guide.logits(pixels)
        found: list[float] = ENERGIES[settings.objective](logits, settings.temperature).tolist()
    return found


def _of_piece(
    decode: Callable[[torch.Tensor], torch.Tensor],
    guide: Guide,
    latents: torch.Tensor,
    settings: GuidanceSettings,
    differentiate: bool,
) -> GuideOutput:
    with torch.set_grad_enabled(differentiate):
        latents = latents.detach().requires_grad_(differentiate)
        images = decode(latents)
        logits = guide.logits(images)
        objective = OBJECTIVES[settings.objective]
        losses = objective(logits, settings.target, settings.temperature)
        # autograd.grad, not backward: nothing is left behind on the models' own parameters
        gradient = torch.autograd.grad(losses.sum(), latents)[0] if differentiate else None
    energies = ENERGIES[settings.objective](logits.detach(), settings.temperature)
    return GuideOutput(images.detach(), losses.detach(), energies, gradient)
