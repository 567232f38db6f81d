"""A batch of images at work, and what is on record about each of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from synood.models.denoising import Steer
    from synood.models.latents import LatentInpainter
    from synood.settings import GuidanceSettings
    from synood.synthesis.guide_output import GuideOutput


@dataclass(frozen=True, eq=False)
class Rendered:
    """A synthetic image and how it came about.

    The objective and the energy are those of each round's image; with the method "step" those of
    the clean image that each guided step predicts, then of the image itself.
    """

    image: np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]  # (S, S, 3), RGB
    losses: tuple[float, ...]  # the objective; the last one is that of `image`
    energies: tuple[float, ...]  # E of the objective (`objectives.ENERGIES`), likewise
    source_energy: float  # of the in-distribution image
    stop: str  # "rounds" or "steps" when all were used, "target" when it was reached before


@dataclass
class Track:
    """What is on record about one image."""

    source_energy: float
    stop: str  # what is said where the target ends nothing
    losses: list[float] = field(default_factory=list)
    energies: list[float] = field(default_factory=list)

    def rendered(self, image: torch.Tensor) -> Rendered:
        """Close the record; pixel values are rounded to bytes."""
        pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        losses, energies = tuple(self.losses), tuple(self.energies)
        return Rendered(pixels, losses, energies, self.source_energy, self.stop)


@dataclass
class Canvas:
    """A batch at work: its noise may change between renderings, everything else is made once."""

    images: torch.Tensor  # (B, 3, S, S) in [0, 1], as they were last decoded
    latents: torch.Tensor  # (B, c, h, w) of the in-distribution images
    noise: torch.Tensor  # (B, c, h, w)
    conditioning: Any  # what the in-painter made of the prompts
    generators: list[torch.Generator]
    states: list[torch.Tensor]  # of the generators, so that each rendering draws the same

    @classmethod
    def prepare(
        cls,
        inpainter: LatentInpainter,
        pixels: torch.Tensor,
        prompts: Sequence[str],
        seeds: Sequence[int],
    ) -> Canvas:
        """Draw and embed all that renderings share, in the order in which diffusers draws it."""
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        latents = inpainter.encode(pixels, generators)
        noise = inpainter.draw_noise(generators)
        conditioning = inpainter.condition(prompts, generators)
        states = [generator.get_state() for generator in generators]
        return cls(torch.empty_like(pixels), latents, noise, conditioning, generators, states)

    def render(
        self,
        inpainter: LatentInpainter,
        active: list[int],
        settings: GuidanceSettings,
        steer: Steer | None = None,
    ) -> torch.Tensor:
        """Denoise the active images from their present noise: (A, c, h, w) unscaled latents."""
        self._rewind()
        return inpainter.denoise(
            self.latents[active],
            self.noise[active],
            self.conditioning.select(active),
            settings.strength,
            settings.num_inference_steps,
            settings.guidance_scale,
            [self.generators[index] for index in active],
            steer,
        )

    def redraw_grey(self, inpainter: LatentInpainter, active: list[int]) -> None:
        """Draw the grey image's latents of the active images anew, each from its own generator."""
        self._rewind()
        generators = [self.generators[index] for index in active]
        self.conditioning = inpainter.redrawn(self.conditioning, active, generators)
        self.states = [generator.get_state() for generator in self.generators]

    def _rewind(self) -> None:
        for generator, state in zip(self.generators, self.states, strict=True):
            generator.set_state(state)


def record(tracks: Sequence[Track], output: GuideOutput, where: str, remedy: str) -> None:
    """Add losses and energies to the images' records.

    A loss that is not finite is an `InputError` saying `where` it arose, and a `remedy`.
    """
    if not bool(torch.isfinite(output.losses).all()):
        raise InputError(
            f"{where} of the guidance gave a loss that is not finite; lower {remedy} or run the "
            "models in float32"
        )
    losses, energies = output.losses.tolist(), output.energies.tolist()
    for track, loss, value in zip(tracks, losses, energies, strict=True):
        track.losses.append(loss)
        track.energies.append(value)


def not_on_target(tracks: Sequence[Track], active: Sequence[int]) -> list[int]:
    """Return the active images whose last loss is above zero, and note why the others end."""
    remaining = [index for index in active if tracks[index].losses[-1] > 0]
    for index in sorted(set(active) - set(remaining)):
        tracks[index].stop = "target"
    return remaining
