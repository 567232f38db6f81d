"""The loop that turns an in-distribution image into one near the boundary (paper §3.3).

An image is noised, denoised under its prompt and decoded; the guide judges the result: a classifier
by its energy, or the image-text encoder by its margin between class names and negative labels. The
gradient of the objective by the denoised latent, through guide and decoder, is then taken off the
noise from which the next round starts. The U-Net is skipped in that gradient: its Jacobian and
the noising stand as one constant, which is in the step size (equations 8 to 10, r times rho).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from synood.errors import InputError
from synood.synthesis.objectives import ENERGIES, OBJECTIVES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from synood.models.guide import Guide
    from synood.models.inpainting import Conditioning, Inpainter
    from synood.settings import GuidanceSettings

Memory: TypeAlias = Literal["plain", "slice", "checkpoint"]


@dataclass(frozen=True, eq=False)
class Rendered:
    """A synthetic image and how it came about."""

    image: np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]  # (S, S, 3), RGB
    losses: tuple[float, ...]  # the objective of each round's image; the last one is `image`
    energies: tuple[float, ...]  # E of the objective (`objectives.ENERGIES`), likewise
    source_energy: float  # of the in-distribution image
    stop: str  # "rounds" when all were used, "target" when the objective was met before


def guided_inpainting(
    inpainter: Inpainter,
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
    """Repaint each image under its prompt, `settings.rounds` times, judged by the guide.

    `pixels` is (B, 3, S, S) in [0, 1] with S the in-painter's size; `prompts` and `seeds` have B
    entries, and so have `source_energies`, the images' own energies where they are known. An
    image's result depends on its own pixels, prompt and seed, not on the others' (to rounding):
    losses are summed, not averaged as in the authors' code, where the batch size changes the step
    (generate_near_ood_sample.py:75). Rounds differ by the noise alone, so a step size of 0 gives
    plain in-painting. The gradient after the last round is not computed, since nothing uses it.
    `memory` says what the gradient through decoder and guide may take: all images at once
    ("plain"), one after the other ("slice"), or one after the other with what lies between the
    decoder's blocks computed twice ("checkpoint"); the images are the same to rounding. `progress`
    is called with (rounds done, rounds in all).

    Raises `InputError` on counts or sizes that do not fit, settings out of range, a prompt that
    is too long and a loss that is not finite.
    """
    _refuse_misfits(len(pixels), prompts, seeds, settings)
    if not seeds:
        return []
    pixels = pixels.contiguous()  # kernels round differently in other memory layouts
    canvas = _prepare(inpainter, pixels, prompts, seeds)
    if source_energies is None:
        source_energies = energies(guide, pixels.to(canvas.latents), settings)
    tracks = [_Track(source_energy=value) for value in source_energies]
    active = list(range(len(tracks)))
    for done in range(1, settings.rounds + 1):
        latents = _render(inpainter, canvas, active, settings)
        wanted = done < settings.rounds and settings.step_size != 0
        output = guide_output(inpainter, guide, latents, settings, memory, differentiate=wanted)
        _record([tracks[index] for index in active], output, done)
        canvas.images[active] = output.images.to(canvas.images)
        canvas.move(active, output.gradient, settings)
        if settings.stop_at_target:
            active = _not_on_target(tracks, active)
        if progress is not None:
            progress(done, settings.rounds)
        if not active:
            break
    return [track.rendered(image) for track, image in zip(tracks, canvas.images, strict=True)]


def energies(guide: Guide, pixels: torch.Tensor, settings: GuidanceSettings) -> list[float]:
    """Return the energy of each image of `pixels` (B, 3, S, S) in [0, 1] by the objective."""
    with torch.no_grad():
        logits = guide.logits(pixels)
        found: list[float] = ENERGIES[settings.objective](logits, settings.temperature).tolist()
    return found


@dataclass
class _Canvas:
    """A batch at work: its noise changes after every round, everything else is made once."""

    images: torch.Tensor  # (B, 3, S, S) in [0, 1], of the last round of each image
    latents: torch.Tensor  # (B, c, h, w) of the in-distribution images
    noise: torch.Tensor  # (B, c, h, w)
    deviation: torch.Tensor  # (B, 1, 1, 1) of the noise as it was drawn
    conditioning: Conditioning
    generators: list[torch.Generator]
    states: list[torch.Tensor]  # of the generators, so that each round draws the same

    def move(
        self, active: list[int], gradient: torch.Tensor | None, settings: GuidanceSettings
    ) -> None:
        """Take one step on the noise of the active images (equation 10)."""
        if gradient is None:
            return
        moved = self.noise[active] - settings.step_size * gradient
        if settings.renormalise:
            moved = moved * (self.deviation[active] / _deviation(moved))
        self.noise[active] = moved


@dataclass(frozen=True)
class GuideOutput:
    """What the guide says of one round's images; `gradient` is by the denoised latents."""

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


@dataclass
class _Track:
    """What is on record about one image."""

    source_energy: float
    losses: list[float] = field(default_factory=list)
    energies: list[float] = field(default_factory=list)
    stop: str = "rounds"

    def rendered(self, image: torch.Tensor) -> Rendered:
        """Close the record; pixel values are rounded to bytes."""
        pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        losses, energies = tuple(self.losses), tuple(self.energies)
        return Rendered(pixels, losses, energies, self.source_energy, self.stop)


def _refuse_misfits(
    images: int, prompts: Sequence[str], seeds: Sequence[int], settings: GuidanceSettings
) -> None:
    if not images == len(prompts) == len(seeds):
        raise InputError(
            f"{images} images, {len(prompts)} prompts and {len(seeds)} seeds given; "
            "give one prompt and one seed for each image"
        )
    if settings.objective not in OBJECTIVES:
        names = ", ".join(OBJECTIVES)
        raise InputError(f"guidance.objective `{settings.objective}` is not one of {names}")
    if settings.rounds < 1:
        raise InputError(f"guidance.rounds is {settings.rounds}; it must be at least 1")
    if not settings.temperature > 0:
        raise InputError(f"guidance.temperature is {settings.temperature}; it must be positive")


def _prepare(
    inpainter: Inpainter, pixels: torch.Tensor, prompts: Sequence[str], seeds: Sequence[int]
) -> _Canvas:
    """Draw and embed all that the rounds share, in the order in which diffusers draws it."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    latents = inpainter.encode(pixels, generators)
    noise = inpainter.draw_noise(generators)
    conditioning = inpainter.condition(prompts, generators)
    states = [generator.get_state() for generator in generators]
    return _Canvas(
        images=torch.empty_like(pixels),
        latents=latents,
        noise=noise,
        deviation=_deviation(noise),
        conditioning=conditioning,
        generators=generators,
        states=states,
    )


def _render(
    inpainter: Inpainter, canvas: _Canvas, active: list[int], settings: GuidanceSettings
) -> torch.Tensor:
    """Denoise the active images from their present noise: (A, c, h, w) unscaled latents."""
    for generator, state in zip(canvas.generators, canvas.states, strict=True):
        generator.set_state(state)
    return inpainter.denoise(
        canvas.latents[active],
        canvas.noise[active],
        canvas.conditioning.select(active),
        settings.strength,
        settings.num_inference_steps,
        settings.guidance_scale,
        [canvas.generators[index] for index in active],
    )


def guide_output(
    inpainter: Inpainter,
    guide: Guide,
    latents: torch.Tensor,
    settings: GuidanceSettings,
    memory: Memory,
    *,
    differentiate: bool,
) -> GuideOutput:
    """Decode and guide; with `differentiate`, also d sum(losses) / d latents (equation 9).

    The losses are summed, so an image's gradient is the same with and without the others.
    """
    recompute = memory == "checkpoint"
    pieces = [latents] if memory == "plain" else list(torch.split(latents, 1))
    outputs = [
        _guide_piece(inpainter, guide, piece, settings, recompute, differentiate)
        for piece in pieces
    ]
    return outputs[0] if len(outputs) == 1 else GuideOutput.joined(outputs)


def _guide_piece(
    inpainter: Inpainter,
    guide: Guide,
    latents: torch.Tensor,
    settings: GuidanceSettings,
    recompute: bool,
    differentiate: bool,
) -> GuideOutput:
    with torch.set_grad_enabled(differentiate):
        latents = latents.detach().requires_grad_(differentiate)
        images = inpainter.decode(latents, recompute=recompute)
        logits = guide.logits(images)
        objective = OBJECTIVES[settings.objective]
        losses = objective(logits, settings.target, settings.temperature)
    # autograd.grad, not backward: nothing is left behind on the models' own parameters
    gradient = torch.autograd.grad(losses.sum(), latents)[0] if differentiate else None
    energies = ENERGIES[settings.objective](logits.detach(), settings.temperature)
    return GuideOutput(images.detach(), losses.detach(), energies, gradient)


def _record(tracks: Sequence[_Track], output: GuideOutput, done: int) -> None:
    if not bool(torch.isfinite(output.losses).all()):
        raise InputError(
            f"round {done} of the guidance gave a loss that is not finite; lower "
            "guidance.step_size or run the models in float32"
        )
    losses, energies = output.losses.tolist(), output.energies.tolist()
    for track, loss, value in zip(tracks, losses, energies, strict=True):
        track.losses.append(loss)
        track.energies.append(value)


def _not_on_target(tracks: Sequence[_Track], active: Sequence[int]) -> list[int]:
    """Drop the images whose loss is zero: they have no gradient and would come out the same."""
    remaining = [index for index in active if tracks[index].losses[-1] > 0]
    for index in sorted(set(active) - set(remaining)):
        tracks[index].stop = "target"
    return remaining


def _deviation(noise: torch.Tensor) -> torch.Tensor:
    return noise.std(dim=(1, 2, 3), keepdim=True)
