"""The denoising loop of an in-painting U-Net with any scheduler of diffusers."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from synood.errors import InputError
from synood.models._levels import transitions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.models._levels import Transition, Transitions
    from synood.models._prompting import Embedding


@dataclass(frozen=True)
class Conditioning:
    """The U-Net's inputs besides the noisy latent; made once per image, used in every round."""

    prompted: Embedding  # of B prompts
    empty: Embedding  # of the empty prompt, one row
    mask: torch.Tensor  # (1, 1, h, w) of ones: the whole image is repainted
    masked_latents: torch.Tensor  # (B, c, h, w) latents of a grey image
    image_size: int  # S, an input of SDXL

    def select(self, keep: Sequence[int]) -> Conditioning:
        """Return the conditioning of the images at the indices `keep`."""
        rows = list(keep)
        prompted, masked = self.prompted.select(rows), self.masked_latents[rows]
        return replace(self, prompted=prompted, masked_latents=masked)


@dataclass(frozen=True)
class Forecast:
    """The clean images as one denoising step predicts them."""

    latents: torch.Tensor  # (B, c, h, w), scaled
    step: int  # from 0, among the steps that a change reaches
    steps: int
    weight: float  # of a change, 1 on average over the steps: GOOD's schedule, a_t / a_(t-1)
    noise: float  # deviation of the noise that is left in a sample of unit variance


Steer: TypeAlias = Callable[[Forecast], "torch.Tensor | None"]
"""What to add to the predicted clean latents (B, c, h, w); None for nothing."""


def denoised(
    unet: Any,  # noqa: ANN401 - diffusers is untyped here
    scheduler: Any,  # noqa: ANN401
    image_latents: torch.Tensor,
    noise: torch.Tensor,
    conditioning: Conditioning,
    *,
    strength: float,
    num_inference_steps: int,
    guidance_scale: float,
    generators: Sequence[torch.Generator] | None,
    steer: Steer | None = None,
) -> torch.Tensor:
    """Noise scaled latents to `strength` and denoise them: (B, c, h, w) -> z0 of the same shape.

    `scheduler` is copied, so the result does not depend on earlier calls. `steer` sees the clean
    latents that each step predicts; what it adds to them is added to the next sample in proportion
    to what that has of the clean latents. Raises `InputError` when `strength` leaves no step or the
    scheduler cannot take so many, or none with `steer`.
    """
    scheduler = copy.deepcopy(scheduler)
    timesteps = last_timesteps(scheduler, num_inference_steps, strength, noise.device)
    latents = _start(scheduler, image_latents, noise, timesteps[0], strength)
    guided = _GuidedUNet(unet, conditioning, guidance_scale)

    def predict(sample: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        return guided(scheduler.scale_model_input(sample, step), step)

    return walked(predict, scheduler, timesteps, latents, generators, steer)


def walked(
    predict: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    scheduler: Any,  # noqa: ANN401
    timesteps: torch.Tensor,
    latents: torch.Tensor,
    generators: Sequence[torch.Generator] | None,
    steer: Steer | None,
) -> torch.Tensor:
    """Take a scheduler's steps from noised latents (B, c, h, w) to z0 of the same shape.

    `scheduler` is set up and begins at the first of `timesteps`; `predict` takes a sample and its
    timestep.
    """
    extra: dict[str, Any] = {}
    if "generator" in inspect.signature(scheduler.step).parameters:
        extra["generator"] = None if generators is None else list(generators)
    steering = None if steer is None else _Steering(steer, scheduler, timesteps)
    for number, step in enumerate(timesteps):
        prediction = predict(latents, step)
        change = None if steering is None else steering(number, latents, prediction)
        latents = scheduler.step(prediction, step, latents, return_dict=False, **extra)[0]
        if change is not None:
            latents = latents + change
    return latents


class _Steering:
    """Turns what `steer` adds to predicted clean latents into what is added to the next sample."""

    def __init__(self, steer: Steer, scheduler: Any, timesteps: torch.Tensor) -> None:  # noqa: ANN401
        self._steer = steer
        self._kind = str(getattr(scheduler.config, "prediction_type", "flow"))
        self._transitions: Transitions = transitions(scheduler, timesteps)
        found = [one for one in self._transitions if one is not None]
        self._steps = len(found)
        self._mean = sum(map(_falling, found)) / self._steps or 1.0

    def __call__(
        self, call: int, sample: torch.Tensor, prediction: torch.Tensor
    ) -> torch.Tensor | None:
        transition = self._transitions[call]
        if transition is None:
            return None
        done = sum(one is not None for one in self._transitions[:call])
        latents = transition.before.clean(sample, prediction, self._kind)
        weight = _falling(transition) / self._mean
        noise = transition.before.noise_deviation
        change = self._steer(Forecast(latents, done, self._steps, weight, noise))
        return None if change is None else transition.after.signal * change


def _falling(transition: Transition) -> float:
    """Return a_t / a_(t-1), which is least where a step takes off the most noise."""
    return transition.before.clean_share / transition.after.clean_share


def last_timesteps(
    scheduler: Any,  # noqa: ANN401
    num_inference_steps: int,
    strength: float,
    device: torch.device,
) -> torch.Tensor:
    """Set up `scheduler` and return the timesteps for `strength`, noisiest first.

    They are the last int(num_inference_steps * strength) of the schedule, as in diffusers; PNDM
    runs one more, since its schedule repeats a timestep.
    """
    used = min(int(num_inference_steps * strength), num_inference_steps)
    if not (0 < strength <= 1 and used >= 1):
        raise InputError(
            f"strength {strength} of {num_inference_steps} steps leaves none; strength lies in "
            "(0, 1] and strength * num_inference_steps must be at least 1"
        )
    try:
        scheduler.set_timesteps(num_inference_steps, device=device)
    except ValueError as error:
        raise InputError(f"num_inference_steps {num_inference_steps}: {error}") from error
    skipped = (num_inference_steps - used) * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped)
    timesteps: torch.Tensor = scheduler.timesteps[skipped:]
    return timesteps


def _start(
    scheduler: Any,  # noqa: ANN401
    image_latents: torch.Tensor,
    noise: torch.Tensor,
    step: torch.Tensor,
    strength: float,
) -> torch.Tensor:
    """Return the initial latents; at strength 1 they are noise alone."""
    noised: torch.Tensor = (
        noise * scheduler.init_noise_sigma
        if strength == 1
        else scheduler.add_noise(image_latents, noise, step.repeat(len(noise)))
    )
    return noised


class _GuidedUNet:
    """Classifier-free guidance; what stays the same between steps is computed once.

    Latent consistency models have learnt guidance: their U-Net takes the scale as an embedding, and
    no prediction without a prompt is needed.
    """

    def __init__(self, unet: Any, conditioning: Conditioning, scale: float) -> None:  # noqa: ANN401
        self._unet, self._scale = unet, scale
        self._dtype = unet.dtype  # a walk through all modules in diffusers
        width = unet.config.time_cond_proj_dim
        self._copies = 2 if scale > 1 and width is None else 1
        self._scale_embedding = None
        if width is not None:
            scales = conditioning.masked_latents.new_full(
                (len(conditioning.masked_latents),), scale
            )
            self._scale_embedding = guidance_scale_embedding(scales, width).to(self._dtype)
        self._fixed = self._mask_channels(conditioning)
        empty, prompted = conditioning.empty, conditioning.prompted
        self._text = self._stacked(empty.text, prompted.text)
        self._added: dict[str, torch.Tensor] | None = None
        if empty.pooled is not None and prompted.pooled is not None:
            pooled, size = self._stacked(empty.pooled, prompted.pooled), conditioning.image_size
            # original size, corner of the crop, target size
            time_ids = pooled.new_tensor([[size, size, 0, 0, size, size]], dtype=torch.float32)
            self._added = {"text_embeds": pooled, "time_ids": time_ids.repeat(len(pooled), 1)}

    def __call__(self, latents: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        inputs = torch.cat([latents.repeat(self._copies, 1, 1, 1), *self._fixed], dim=1)
        output: torch.Tensor = self._unet(
            inputs.to(self._dtype),
            step,
            timestep_cond=self._scale_embedding,
            encoder_hidden_states=self._text,
            added_cond_kwargs=self._added,
            return_dict=False,
        )[0].to(latents.dtype)
        if self._copies == 1:
            return output
        empty, prompted = output.chunk(2)
        return empty + self._scale * (prompted - empty)

    def _stacked(self, empty: torch.Tensor, prompted: torch.Tensor) -> torch.Tensor:
        """Stack the embeddings of the empty prompt, where needed, and of the prompts."""
        without = [empty.expand_as(prompted)] * (self._copies - 1)
        return torch.cat([*without, prompted]).to(self._dtype)

    def _mask_channels(self, conditioning: Conditioning) -> list[torch.Tensor]:
        """Return mask and masked latents for an in-painting U-Net; none for a text-to-image one."""
        latents = conditioning.masked_latents
        if self._unet.config.in_channels == latents.shape[1]:
            return []
        mask = conditioning.mask.to(latents).expand(len(latents), -1, -1, -1)
        return [torch.cat([mask, latents], dim=1).repeat(self._copies, 1, 1, 1)]


def guidance_scale_embedding(scales: torch.Tensor, width: int) -> torch.Tensor:
    """Embed guidance scales (B,) as (B, width) sines and cosines, as latent consistency models do.

    The scale enters less 1 and times 1000: get_guidance_scale_embedding of diffusers' pipelines.
    """
    half = width // 2
    exponents = torch.arange(half, dtype=scales.dtype, device=scales.device)
    frequencies = torch.exp(exponents * -(math.log(10000.0) / (half - 1)))
    angles = ((scales - 1) * 1000.0)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos(), angles.new_zeros(len(scales), width % 2)], dim=1)
