"""Guidance within one rendering: each denoising step moves the clean latent that it predicts.

After GOOD (Gao et al., NeurIPS 2025, section 3), its term on the clean latent alone: with x0 the
prediction of a step, D0 = -mu_t clip(d loss(decode(x0 + sigma_t n)) / d x0), and the next sample is
the scheduler's plus D0 times the share of the clean latent in it. The U-Net is not differentiated:
its output is taken as given, as in the rounds of the paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from synood.synthesis._canvas import not_on_target, record
from synood.synthesis.guide_output import guide_output

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from synood.models.denoising import Forecast
    from synood.models.guide import Guide
    from synood.models.latents import LatentInpainter
    from synood.settings import GuidanceSettings
    from synood.synthesis._canvas import Canvas, Track
    from synood.synthesis.guide_output import Memory

LARGEST_RMS = 1.0  # of a gradient by a latent of unit variance; the rescaling of GOOD's code, whose
# bound of 100 (utils.py:27) is never applied to images, would bound nothing here
OWN_STREAM = 1 << 62  # flipped in an image's seed: noise that leaves the sampler's own draws alone


def paint_in_steps(
    inpainter: LatentInpainter,
    guide: Guide,
    canvas: Canvas,
    tracks: Sequence[Track],
    settings: GuidanceSettings,
    memory: Memory,
    progress: Callable[[int, int], None] | None,
    seeds: Sequence[int],
) -> None:
    """Render once, each step guided; the images are left on the canvas.

    Without a gradient nothing is judged but the image, which is then that of plain in-painting.
    """
    inpainter.check_steerable()
    steering = _Steering(inpainter, guide, tracks, settings, memory, progress, seeds)
    images = list(range(len(tracks)))
    latents = canvas.render(
        inpainter, images, settings, steering if settings.uses_gradient else None
    )
    output = guide_output(inpainter, guide, latents, settings, memory, differentiate=False)
    record(tracks, output, "the last step", "guidance.mu")
    canvas.images[:] = output.images.to(canvas.images)


class _Steering:
    """What to add to the clean latents of a step, for the images that are still guided."""

    def __init__(
        self,
        inpainter: LatentInpainter,
        guide: Guide,
        tracks: Sequence[Track],
        settings: GuidanceSettings,
        memory: Memory,
        progress: Callable[[int, int], None] | None,
        seeds: Sequence[int],
    ) -> None:
        self._inpainter, self._guide, self._tracks = inpainter, guide, tracks
        self._settings, self._memory, self._progress = settings, memory, progress
        self._active = list(range(len(tracks)))
        self._generators = [torch.Generator().manual_seed(seed ^ OWN_STREAM) for seed in seeds]

    def __call__(self, forecast: Forecast) -> torch.Tensor | None:
        settings, active = self._settings, self._active
        guided = forecast.steps if settings.guided_steps is None else settings.guided_steps
        if not active or forecast.step < forecast.steps - guided:
            return None
        output = guide_output(
            self._inpainter,
            self._guide,
            self._blurred(forecast),
            settings,
            self._memory,
            differentiate=True,
            scaled=True,
        )
        here = [self._tracks[index] for index in active]
        record(here, output, f"step {forecast.step + 1}", "guidance.mu")
        assert output.gradient is not None, "it was asked for"
        change = torch.zeros_like(forecast.latents)
        change[active] = -settings.mu * forecast.weight * clipped(output.gradient)
        if settings.stop_at_target:
            self._active = not_on_target(self._tracks, active)
        if self._progress is not None:
            self._progress(forecast.step + 1, forecast.steps)
        return change

    def _blurred(self, forecast: Forecast) -> torch.Tensor:
        """Return the active images' clean latents, with noise in proportion to what is left."""
        latents = forecast.latents[self._active]
        deviation = self._settings.sigma * forecast.noise
        if not deviation:
            return latents
        generators = [self._generators[index] for index in self._active]
        return latents + deviation * self._inpainter.draw_noise(generators).to(latents)


def clipped(gradient: torch.Tensor) -> torch.Tensor:
    """Shorten each image's gradient (B, c, h, w) to a root mean square of at most 1.

    So a step changes a latent, whose variance is about 1, by at most `mu` times its weight. [ours]
    """
    rms = gradient.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return gradient / (rms / LARGEST_RMS).clamp(min=1)
