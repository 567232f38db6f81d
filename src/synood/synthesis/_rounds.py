"""The paper's guidance: several renderings, each from noise that the last one's gradient moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.synthesis._canvas import not_on_target, record
from synood.synthesis.guide_output import guide_output
from synood.synthesis.objectives import FLAT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from synood.models.guide import Guide
    from synood.models.latents import LatentInpainter
    from synood.settings import GuidanceSettings
    from synood.synthesis._canvas import Canvas, Track
    from synood.synthesis.guide_output import Memory


def paint_in_rounds(
    inpainter: LatentInpainter,
    guide: Guide,
    canvas: Canvas,
    tracks: Sequence[Track],
    settings: GuidanceSettings,
    memory: Memory,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Render `settings.rounds` times; the last images are left on the canvas.

    Rounds differ by the noise alone, so a step size of 0 gives plain in-painting; with
    `redraw_grey` also by the grey image's latents, drawn in each round. The gradient after the last
    round is not computed, since nothing uses it, and of an objective without a gradient the last
    round alone is rendered.
    """
    deviation = _deviation(canvas.noise)
    active = list(range(len(tracks)))
    for done in range(1, settings.rounds + 1):
        if done > 1 and settings.redraw_grey:
            canvas.redraw_grey(inpainter, active)
        if settings.objective in FLAT and done < settings.rounds:
            continue
        latents = canvas.render(inpainter, active, settings)
        wanted = done < settings.rounds and settings.step_size != 0
        output = guide_output(inpainter, guide, latents, settings, memory, differentiate=wanted)
        here = [tracks[index] for index in active]
        record(here, output, f"round {done}", "guidance.step_size")
        canvas.images[active] = output.images.to(canvas.images)
        if output.gradient is not None:
            noise = canvas.noise[active]
            canvas.noise[active] = _moved(noise, output.gradient, deviation[active], settings)
        if settings.stop_at_target:
            active = not_on_target(tracks, active)
        if progress is not None:
            progress(done, settings.rounds)
        if not active:
            break


def _moved(
    noise: torch.Tensor,
    gradient: torch.Tensor,
    deviation: torch.Tensor,
    settings: GuidanceSettings,
) -> torch.Tensor:
    """Take one step on the noise (equation 10); `deviation` is that of the noise as drawn."""
    moved = noise - settings.step_size * gradient
    return moved * (deviation / _deviation(moved)) if settings.renormalise else moved


def _deviation(noise: torch.Tensor) -> torch.Tensor:
    return noise.std(dim=(1, 2, 3), keepdim=True)
