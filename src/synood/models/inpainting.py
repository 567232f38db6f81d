"""Inpainter: the components of a latent diffusion model for in-painting, and their denoising loop.

The mask is one everywhere and the masked image is grey, as in the authors' code (its datasets.py:79
and the pipeline it calls): the whole image is repainted, and its source enters only through the
noised latent at which denoising starts. With such a mask a text-to-image model, whose U-Net has
neither mask nor masked image as input, does the same by img2img, so it is supported as well.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from synood.errors import InputError
from synood.models._autoencoder import Autoencoder
from synood.models._diffusers_layout import (
    Layout,
    check_fit,
    load_scheduler,
    read_layout,
)
from synood.models._levels import check_known
from synood.models._prompting import PromptEncoder
from synood.models.checkpoints import load_model
from synood.models.denoising import Conditioning, denoised
from synood.models.precision import chosen_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from synood.models.denoising import Steer

__all__ = ["Conditioning", "Inpainter"]


class Inpainter:
    """Encode, noise, denoise and decode with the components of a diffusers checkpoint.

    Stable Diffusion 1 and 2 and SDXL, for in-painting or text-to-image, at the size of their U-Net.
    Each image has its own random generator and each call its own copy of the scheduler, so the
    result for an image does not depend on its batch (to rounding). Latents are in single precision,
    or double where the model is; the U-Net and the text towers compute in `dtype`, the autoencoder
    in at least single precision.
    """

    def __init__(
        self,
        *,
        unet: Any,  # noqa: ANN401 - diffusers is untyped here
        autoencoder: Autoencoder,
        prompter: PromptEncoder,
        scheduler: Any,  # noqa: ANN401
        layout: Layout,
    ) -> None:
        self._unet = unet
        self._autoencoder = autoencoder
        self._prompter = prompter
        self._scheduler = scheduler
        self._layout = layout
        self.device = autoencoder.device
        side = unet.config.sample_size
        self._latent_shape = (autoencoder.channels, side, side)
        self.image_size: int = side * autoencoder.shrinks_by

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        device: str = "cpu",
        dtype: str | torch.dtype = "auto",
        revision: str | None = None,
    ) -> Inpainter:
        """Load a directory or hub id in the layout of diffusers, with a model_index.json.

        `dtype` is the precision of the U-Net and the text towers, a name or a torch.dtype.
        Raises `CheckpointError` when a part is missing, lacks weights or does not fit the others.
        """
        import diffusers

        dtype = chosen_dtype(dtype, device)
        layout = read_layout(path_or_id, revision)
        exact = torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
        at: dict[str, Any] = {"source": path_or_id, "revision": revision}
        # without low_cpu_mem_usage diffusers behaves the same with and without accelerate
        model: dict[str, Any] = {**at, "device": device, "low_cpu_mem_usage": False}
        unet, vae = diffusers.UNet2DConditionModel, diffusers.AutoencoderKL
        unet = load_model(unet, subfolder="unet", torch_dtype=dtype, **model)
        autoencoder = Autoencoder(load_model(vae, subfolder="vae", torch_dtype=exact, **model))
        prompter = PromptEncoder.from_pretrained(layout, device, dtype)
        check_fit(path_or_id, unet, autoencoder, prompter)
        return cls(
            unet=unet,
            autoencoder=autoencoder,
            prompter=prompter,
            scheduler=load_scheduler(path_or_id, revision),
            layout=layout,
        )

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change with any part of the model."""
        return self._layout.fingerprint()

    @property
    def precision(self) -> str:
        """The precision of the U-Net, such as "float32"."""
        return str(self._unet.dtype).removeprefix("torch.")

    @property
    def gradient_bytes(self) -> int:
        """Bytes that one image's gradient through the decoder takes without recomputing."""
        return int(self._autoencoder.bytes_per_cell * self._latent_shape[1] ** 2)

    def encode(self, images: torch.Tensor, generators: Sequence[torch.Generator]) -> torch.Tensor:
        """Draw scaled latents (B, c, h, w) of `images` (B, 3, S, S) in [0, 1].

        They are sampled from the autoencoder's posterior, as in the authors' code, each image with
        its own generator. Raises `InputError` for another size.
        """
        self._refuse_wrong_pixels(images)
        return self._autoencoder.encode(images, lambda: self.draw_noise(generators))

    def draw_noise(self, generators: Sequence[torch.Generator]) -> torch.Tensor:
        """Draw standard normal noise (B, c, h, w), one image from each generator.

        It is drawn on the generator's device in single precision, so it is the same on any device.
        """
        draws = [
            torch.randn(self._latent_shape, generator=generator, device=generator.device)
            for generator in generators
        ]
        return torch.stack(draws).to(device=self.device, dtype=self._autoencoder.dtype)

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Raise an `InputError` naming a prompt that is too long for a text tower."""
        self._prompter.check(prompts)

    def condition(
        self, prompts: Sequence[str], generators: Sequence[torch.Generator]
    ) -> Conditioning:
        """Embed B prompts and the empty one, and draw the latents of a grey image for each.

        Raises an `InputError` naming a prompt that is too long for a text tower.
        """
        prompted = self._prompter.embed(prompts)
        return Conditioning(
            prompted=prompted,
            empty=self._prompter.empty(prompted),
            mask=torch.ones(1, 1, *self._latent_shape[1:], device=self.device),
            masked_latents=self.grey_latents(generators),
            image_size=self.image_size,
        )

    def grey_latents(self, generators: Sequence[torch.Generator]) -> torch.Tensor:
        """Draw the latents (B, c, h, w) of a grey image, one from each generator."""
        grey = torch.full((1, 3, self.image_size, self.image_size), 0.5)
        return self._autoencoder.encode(grey, lambda: self.draw_noise(generators))

    @torch.no_grad()
    def denoise(
        self,
        image_latents: torch.Tensor,
        noise: torch.Tensor,
        conditioning: Conditioning,
        strength: float,
        num_inference_steps: int,
        guidance_scale: float,
        generators: Sequence[torch.Generator] | None = None,
        steer: Steer | None = None,
    ) -> torch.Tensor:
        """Noise the latents to `strength` and denoise them: (B, c, h, w) as `decode` takes them.

        The result is z0 / scaling_factor, the latent that the authors' code differentiates by.
        The steps are the last int(num_inference_steps * strength) of the schedule, and strength 1
        starts from noise alone, both as in diffusers. A `guidance_scale` of at most 1 turns
        guidance off. `generators` are for schedulers that draw noise in a step; `steer` changes the
        clean latents that each step predicts.
        """
        latents = denoised(
            self._unet,
            self._scheduler,
            image_latents,
            noise,
            conditioning,
            strength=strength,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            generators=generators,
            steer=steer,
        )
        return self.unscaled(latents)

    def check_steerable(self) -> None:
        """Raise an `InputError` if the scheduler's steps cannot be guided one by one."""
        check_known(self._scheduler)

    def unscaled(self, latents: torch.Tensor) -> torch.Tensor:
        """Convert latents (B, c, h, w) of `encode` to those that `decode` takes."""
        return self._autoencoder.unscaled(latents)

    def decode(self, latents: torch.Tensor, *, recompute: bool = False) -> torch.Tensor:
        """Decode what `denoise` returns to (B, 3, S, S) in [0, 1], differentiable.

        Values outside are clamped, so saturated pixels have no gradient. With `recompute` the
        gradient takes less memory and one more forward pass.
        """
        return self._autoencoder.decode(latents, recompute=recompute)

    def _refuse_wrong_pixels(self, images: torch.Tensor) -> None:
        size = self.image_size
        if images.ndim != 4 or images.shape[1:] != (3, size, size):
            raise InputError(
                f"images of shape {tuple(images.shape)} given, the in-painting model takes "
                f"(B, 3, {size}, {size}); resize them"
            )
        if not (images.is_floating_point() and bool(((images >= 0) & (images <= 1)).all())):
            raise InputError("images must be floating point numbers in [0, 1]; divide bytes by 255")
