"""Inpainter: the parts of a latent diffusion model that in-paints, and a loop over them.

The mask is one everywhere and the masked image is grey, as in the authors' code (its datasets.py:79
and the pipeline it calls): the picture is repainted whole, and its source enters only through the
noised latent from which the denoising starts.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from synood.errors import CheckpointError, InputError
from synood.models.checkpoints import checkpoint_fingerprint, load_model, load_part
from synood.models.denoising import Conditioning, denoised
from synood.models.tokens import load_tokenizer, padded, token_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Conditioning", "Inpainter"]

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")


class Inpainter:
    """Encode, noise, denoise and decode with components of a StableDiffusionInpaintPipeline.

    Every random number of an image comes from its own generator and each call works on a copy of
    the scheduler, so an image comes out the same (to rounding) in whatever batch it stands.
    Latents are kept in single precision, or double where the model is; the U-Net and the text tower
    compute in `dtype`, the autoencoder in at least single precision since gradients go through it.
    """

    def __init__(
        self,
        *,
        unet: Any,  # noqa: ANN401 - diffusers and transformers are untyped here
        vae: Any,  # noqa: ANN401
        text_encoder: Any,  # noqa: ANN401
        tokenizer: Any,  # noqa: ANN401
        scheduler: Any,  # noqa: ANN401
        source: str | Path,
        revision: str | None = None,
    ) -> None:
        self._unet = unet
        self._vae = vae
        self._text_encoder = text_encoder
        self._tokenizer = tokenizer
        self._scheduler = scheduler
        self._source, self._revision = source, revision
        _refuse_misfits(source, unet, vae, text_encoder, scheduler)
        self._latent_mean, self._latent_scale = _latent_statistics(vae)
        self.device: torch.device = vae.device
        self._dtype: torch.dtype = vae.dtype  # of latents and pictures
        shrinks = len(vae.config.block_out_channels) - 1
        self._latent_shape: tuple[int, int, int] = (
            vae.config.latent_channels,
            unet.config.sample_size,
            unet.config.sample_size,
        )
        self.image_size: int = unet.config.sample_size * 2**shrinks

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        revision: str | None = None,
    ) -> Inpainter:
        """Load a directory or hub id laid out for diffusers' StableDiffusionInpaintPipeline.

        Raises `CheckpointError` when a part is missing, lacks weights or does not fit the others.
        """
        import diffusers
        from transformers import CLIPTextModel

        exact = torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
        at: dict[str, Any] = {"source": path_or_id, "revision": revision}
        model: dict[str, Any] = {**at, "device": device}
        # without low_cpu_mem_usage diffusers behaves alike with and without accelerate
        plain: dict[str, Any] = {**model, "low_cpu_mem_usage": False}
        unet, vae = diffusers.UNet2DConditionModel, diffusers.AutoencoderKL
        tower = load_model(CLIPTextModel, subfolder="text_encoder", dtype=dtype, **model)
        return cls(
            unet=load_model(unet, subfolder="unet", torch_dtype=dtype, **plain),
            vae=load_model(vae, subfolder="vae", torch_dtype=exact, **plain),
            text_encoder=tower,
            tokenizer=load_tokenizer(
                vocabulary=tower.config.vocab_size, subfolder="tokenizer", **at
            ),
            scheduler=_load_scheduler(path_or_id, revision),
            source=path_or_id,
            revision=revision,
        )

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change with any part of the model."""
        return checkpoint_fingerprint(self._source, PARTS, self._revision)

    @torch.no_grad()
    def encode(self, images: torch.Tensor, generators: Sequence[torch.Generator]) -> torch.Tensor:
        """Draw scaled latents (B, c, h, w) of `images` (B, 3, S, S) in [0, 1].

        They are sampled from the autoencoder's posterior, as the authors' code does, each image
        with its own generator. Raises `InputError` on another size.
        """
        self._refuse_wrong_pixels(images)
        return self._scaled(self._sample_posterior(images, generators))

    def draw_noise(self, generators: Sequence[torch.Generator]) -> torch.Tensor:
        """Draw unit normal noise (B, c, h, w), one image from each generator.

        It is drawn on the generator's device in single precision, so it is the same on any device.
        """
        draws = [
            torch.randn(self._latent_shape, generator=generator, device=generator.device)
            for generator in generators
        ]
        return torch.stack(draws).to(device=self.device, dtype=self._dtype)

    @torch.no_grad()
    def condition(
        self, prompts: Sequence[str], generators: Sequence[torch.Generator]
    ) -> Conditioning:
        """Embed B prompts and the empty one, and draw the latents of a grey picture for each.

        Raises `InputError` naming a prompt that the text tower cannot take whole.
        """
        grey = torch.full((1, 3, self.image_size, self.image_size), 0.5)
        return Conditioning(
            text=self._embed(prompts),
            unconditional=self._embed([""]),
            mask=torch.ones(1, 1, *self._latent_shape[1:], device=self.device),
            masked_latents=self._scaled(self._sample_posterior(grey, generators)),
        )

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
    ) -> torch.Tensor:
        """Noise the latents to `strength` and denoise them: (B, c, h, w) as `decode` takes them.

        The result is z0 / scaling_factor, the latent by which the authors' code differentiates.
        The steps are the last int(num_inference_steps * strength) of the schedule, and strength 1
        starts from noise alone, both as in diffusers. A `guidance_scale` of at most 1 leaves the
        empty prompt out. `generators` feed schedulers that draw noise in a step.
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
        )
        return self.unscaled(latents)

    def unscaled(self, latents: torch.Tensor) -> torch.Tensor:
        """Turn latents (B, c, h, w) as `encode` returns them into what `decode` takes."""
        return latents / self._latent_scale + self._latent_mean

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode what `denoise` returns to (B, 3, S, S) in [0, 1], differentiable.

        Values outside are clamped, so saturated pixels pass no gradient.
        """
        decoded: torch.Tensor = self._vae.decode(latents, return_dict=False)[0]
        return (decoded / 2 + 0.5).clamp(0, 1)

    def _refuse_wrong_pixels(self, images: torch.Tensor) -> None:
        size = self.image_size
        if images.ndim != 4 or images.shape[1:] != (3, size, size):
            raise InputError(
                f"images of shape {tuple(images.shape)} given, the in-painting model takes "
                f"(B, 3, {size}, {size}); resize them"
            )
        if not (images.is_floating_point() and bool(((images >= 0) & (images <= 1)).all())):
            raise InputError("images must be floating point numbers in [0, 1]; divide bytes by 255")

    def _scaled(self, latents: torch.Tensor) -> torch.Tensor:
        return (latents - self._latent_mean) * self._latent_scale

    def _sample_posterior(
        self, images: torch.Tensor, generators: Sequence[torch.Generator]
    ) -> torch.Tensor:
        """Draw one latent a generator; a single image serves all of them."""
        pixels = images.to(device=self.device, dtype=self._dtype) * 2 - 1
        posterior = self._vae.encode(pixels).latent_dist
        drawn: torch.Tensor = posterior.mean + posterior.std * self.draw_noise(generators)
        return drawn

    def _embed(self, prompts: Sequence[str]) -> torch.Tensor:
        """Embed prompts as (B, L, D), padded to the tower's whole context as in its training."""
        tower = self._text_encoder
        context = min(self._tokenizer.model_max_length, tower.config.max_position_embeddings)
        rows = token_rows(self._tokenizer, prompts, context)
        ids, mask = padded(rows, context, self._tokenizer.pad_token_id)
        masked = getattr(tower.config, "use_attention_mask", False)
        embedding: torch.Tensor = tower(
            ids.to(self.device), attention_mask=mask.to(self.device) if masked else None
        )[0]
        return embedding


def _load_scheduler(source: str | Path, revision: str | None) -> Any:  # noqa: ANN401
    """Load the scheduler of the class that its own configuration names."""
    import diffusers

    at: dict[str, Any] = {"subfolder": "scheduler", "revision": revision}
    # any scheduler's class reads the file; its _class_name says which one is meant
    name = str(load_part(diffusers.DDIMScheduler.load_config, source, **at).get("_class_name"))
    known = getattr(diffusers, name, None)
    scheduler = None if known is None else load_part(known.from_pretrained, source, **at)
    if not hasattr(scheduler, "add_noise"):
        raise CheckpointError(
            f"{source}/scheduler: `{name}` is no scheduler that starts from a noised image; "
            "name one in scheduler_config.json, such as DDIMScheduler"
        )
    return scheduler


def _latent_statistics(vae: Any) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ANN401
    """Mean and scale of (latent - mean) * scale, what the U-Net was trained on: (1, c or 1, 1, 1).

    Newer autoencoders state a mean and deviation for each channel, others the factor alone.
    """
    config = vae.config
    mean = getattr(config, "latents_mean", None) or [getattr(config, "shift_factor", None) or 0.0]
    deviation = getattr(config, "latents_std", None) or [1.0]
    shape = {"device": vae.device, "dtype": vae.dtype}
    scale = config.scaling_factor / torch.tensor(deviation, **shape)
    return torch.tensor(mean, **shape).view(1, -1, 1, 1), scale.view(1, -1, 1, 1)


def _refuse_misfits(
    source: str | Path,
    unet: Any,  # noqa: ANN401
    vae: Any,  # noqa: ANN401
    text_encoder: Any,  # noqa: ANN401
    scheduler: Any,  # noqa: ANN401
) -> None:
    """Raise `CheckpointError` when the parts of a checkpoint do not belong together."""
    channels = vae.config.latent_channels
    wanted = {
        "in_channels": 2 * channels + 1,  # noisy latent, mask, latent of the masked image
        "out_channels": channels,
        "cross_attention_dim": text_encoder.config.hidden_size,
    }
    for name, value in wanted.items():
        if unet.config[name] != value:
            raise CheckpointError(
                f"{source}: the U-Net's {name} is {unet.config[name]}, an in-painting model "
                f"with this autoencoder and text tower has {value}; use an in-painting checkpoint"
            )
    if not isinstance(unet.config.sample_size, int):
        raise CheckpointError(f"{source}: the U-Net's sample_size must be one number")
    kind = getattr(scheduler.config, "prediction_type", "epsilon")
    if kind not in ("epsilon", "v_prediction", "sample"):
        raise CheckpointError(f"{source}/scheduler: unknown prediction_type `{kind}`")
