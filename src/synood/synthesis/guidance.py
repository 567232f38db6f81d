"""From in-distribution images to ones near the boundary: guided in-painting (paper §3.3).

An image is noised, denoised under its prompt and decoded; the guide judges the result: a classifier
by its energy, or the image-text encoder by its margin between class names and negative labels. In
the paper's rounds (`_rounds`) the gradient of the objective by the denoised latent, through guide
and decoder, is taken off the noise from which the next round starts. The U-Net is skipped in that
gradient: its Jacobian and the noising stand as one constant, which is in the step size (equations
8 to 10, r times rho). With the method "step" (`_steps`) the gradient acts within one rendering.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.errors import InputError
from synood.synthesis._canvas import Canvas, Rendered, Track
from synood.synthesis._rounds import paint_in_rounds
from synood.synthesis._steps import paint_in_steps
from synood.synthesis.guide_output import Memory, energies
from synood.synthesis.objectives import OBJECTIVES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from synood.models.guide import Guide
    from synood.models.latents import LatentInpainter
    from synood.settings import GuidanceSettings

__all__ = ["Memory", "Rendered", "energies", "guided_inpainting"]


def guided_inpainting(
    inpainter: LatentInpainter,
    guide: Guide,
    pixels: torch.Tensor,
    prompts: Sequence[str],
    settings: GuidanceSettings,
    seeds: Sequence[int],
    *,
    source_energies: Sequence[float] | None = None,
    memory: Memory = "plain",
    progress: Callable[[int, int], None] | None = None,
) -> list[Rendered]:
    """Repaint each image under its prompt, judged by the guide, by `settings.method`.

    `pixels` is (B, 3, S, S) in [0, 1] with S the in-painter's size; `prompts` and `seeds` have B
    entries, and so have `source_energies`, the images' own energies where they are known. An
    image's result depends on its own pixels, prompt and seed, not on the others' (to rounding):
    losses are summed, not averaged as in the authors' code, where the batch size changes the step
    (generate_near_ood_sample.py:75). Without a gradient (`step_size` or `mu` 0) both methods are
    plain in-painting. `memory` says what the gradient through decoder and guide may take
    (`guide_output`); the images are the same to rounding. `progress` is called with (rounds done,
    rounds in all), or with steps.

    Raises `InputError` on counts or sizes that do not fit, settings out of range, a prompt that
    is too long, a loss that is not finite and a scheduler whose steps cannot be guided.
    """
    _refuse_misfits(len(pixels), prompts, seeds, settings)
    if not seeds:
        return []
    pixels = pixels.contiguous()  # kernels round differently in other memory layouts
    canvas = Canvas.prepare(inpainter, pixels, prompts, seeds)
    if source_energies is None:
        source_energies = energies(guide, pixels.to(canvas.latents), settings)
    in_steps = settings.method == "step"
    stop = "steps" if in_steps else "rounds"
    tracks = [Track(value, stop) for value in source_energies]
    how = (inpainter, guide, canvas, tracks, settings, memory, progress)
    if in_steps:
        paint_in_steps(*how, seeds)
    else:
        paint_in_rounds(*how)
    return [track.rendered(image) for track, image in zip(tracks, canvas.images, strict=True)]


def _refuse_misfits(
    images: int, prompts: Sequence[str], seeds: Sequence[int], settings: GuidanceSettings
) -> None:
    if not images == len(prompts) == len(seeds):
        raise InputError(
            f"{images} images, {len(prompts)} prompts and {len(seeds)} seeds given; "
            "give one prompt and one seed for each image"
        )
    for field, options in (("objective", OBJECTIVES), ("method", ("rounds", "step"))):
        value = getattr(settings, field)
        if value not in options:
            raise InputError(f"guidance.{field} `{value}` is not one of {', '.join(options)}")
    if settings.rounds < 1:
        raise InputError(f"guidance.rounds is {settings.rounds}; it must be at least 1")
    if settings.guided_steps is not None and settings.guided_steps < 1:
        raise InputError(f"guidance.guided_steps is {settings.guided_steps}; it must be at least 1")
    if not settings.temperature > 0:
        raise InputError(f"guidance.temperature is {settings.temperature}; it must be positive")
