"""Inpainter: the components of a latent diffusion model for in-painting, and their denoising loop.

The mask is one everywhere and the masked image is grey, as in the authors' code (its datasets.py:79
and the pipeline it calls): the whole image is repainted, and its source enters only through the
noised latent at which denoising starts. With such a mask a text-to-image model, whose U-Net has
neither mask nor masked image as input, does the same by img2img, so it is supported as well.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from synood.errors import InputError
from synood.models._autoencoder import Autoencoder
from synood.models._diffusers_layout import (
    check_fit,
    load_scheduler,
    read_layout,
)
from synood.models._prompting import PromptEncoder
from synood.models.checkpoints import load_model
from synood.models.denoising import Conditioning, denoised
from synood.models.latents import LatentInpainter
from synood.models.precision import chosen_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from synood.models.denoising import Steer

__all__ = ["Conditioning", "Inpainter", "load_inpainter"]


def load_inpainter(
    path_or_id: str | Path,
    device: str = "cpu",
    dtype: str | torch.dtype = "auto",
    revision: str | None = None,
    size: int | None = None,
) -> LatentInpainter:
    """Load a diffusers checkpoint of any kind that is known: with a U-Net, or by flow matching.

    `size` is that of the images in pixels; only a flow-matching model has a choice.
    """
    if read_layout(path_or_id, revision).is_flow:
        from synood.models.flow import SIZE, FlowInpainter

        return FlowInpainter.from_pretrained(path_or_id, device, dtype, revision, size or SIZE)
    if size is not None:
        raise InputError(
            f"inpainter.size: {path_or_id} paints at the size of its U-Net; leave it out"
        )
    return Inpainter.from_pretrained(path_or_id, device, dtype, revision)


class Inpainter(LatentInpainter):
    """Stable Diffusion 1 and 2 and SDXL, for in-painting or text-to-image, at their U-Net's size.

    The U-Net and the text towers compute in `dtype`, the autoencoder in at least single precision.
    """

    _prompter: PromptEncoder

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
            network=unet,
            autoencoder=autoencoder,
            prompter=prompter,
            scheduler=load_scheduler(path_or_id, revision),
            layout=layout,
            side=unet.config.sample_size,
        )

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

    def redrawn(
        self,
        conditioning: Conditioning,
        rows: Sequence[int],
        generators: Sequence[torch.Generator],
    ) -> Conditioning:
        """Return the conditioning with the grey image's latents at `rows` drawn anew."""
        latents = conditioning.masked_latents.clone()
        latents[list(rows)] = self.grey_latents(generators).to(latents)
        return replace(conditioning, masked_latents=latents)

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
            self._network,
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
