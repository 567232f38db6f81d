"""The mini in-painter: its parts, what it learns from, and its loss.

A 9-channel latent U-Net and a small CLIP text tower are trained jointly over a frozen VAE, with
Stable Diffusion's noise schedule, so that diffusers' StableDiffusionInpaintPipeline runs them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from synood.errors import InputError
from tools.mini.tokenizer import build_tokenizer
from tools.mini.training import Randomness, Scenes, to_signed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

POOL_STREAM = 1  # a stream of randomness; the steps themselves draw from stream 0


@dataclass(frozen=True)
class PainterSettings:
    """Sizes and objective; attention stands only at 8x8 and 4x4 latents, where it is cheap."""

    widths: tuple[int, ...] = (48, 96, 192)  # at 16x16, 8x8 and 4x4 latents
    layers: int = 1
    groups: int = 16
    heads: int = 4
    text_width: int = 160
    text_layers: int = 2
    max_length: int = 32  # tokens of a prompt; shorter ones are padded, as diffusers does
    latent_size: int = 16
    no_prompt: float = 0.1  # share trained without prompt, for classifier-free guidance
    hole: float = 0.15  # share trained with a rectangle to fill in place of the whole image
    snr_limit: float = 5.0  # gamma of min-SNR (arXiv 2303.09556), applied to how often t is drawn
    sheet: int = 24  # prompts on a contact sheet


@dataclass(frozen=True)
class Stills:
    """Images uint8 (N, S, S, 3), their captions and a draw of their latents (N, 4, h, w)."""

    images: np.ndarray
    captions: list[str]
    latents: torch.Tensor

    def chosen(self, indices: np.ndarray) -> Stills:
        """Return those at `indices`."""
        captions = [self.captions[index] for index in indices]
        rows = torch.from_numpy(indices).to(self.latents.device)
        return Stills(self.images[indices], captions, self.latents[rows])


@dataclass
class Painter:
    """The parts of the pipeline; the U-Net and the text tower are trained, the VAE is frozen."""

    unet: Any
    text_encoder: Any
    tokenizer: Any
    vae: Any
    scheduler: Any
    settings: PainterSettings
    blank: torch.Tensor = field(init=False)
    frequencies: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        size = self.settings.latent_size * 4
        with torch.no_grad():
            grey = torch.zeros(1, 3, size, size, device=self.device)
            self.blank = self.vae.encode(grey).latent_dist.mode().float() * self.scale
        signal = self.scheduler.alphas_cumprod
        self.frequencies = (self.settings.snr_limit * (1 - signal) / signal).clamp(max=1)

    @property
    def device(self) -> torch.device:
        """Where the parts are."""
        return next(self.vae.parameters()).device  # type: ignore[no-any-return]

    @property
    def scale(self) -> float:
        """The VAE's scaling factor."""
        return float(self.vae.config.scaling_factor)

    def tokens(self, captions: Sequence[str]) -> torch.Tensor:
        """Return (B, max_length) token ids, padded as diffusers pads them."""
        ids = self.tokenizer(
            list(captions), padding="max_length", truncation=True, return_tensors="pt"
        )["input_ids"]
        return ids.to(self.device)  # type: ignore[no-any-return]

    @torch.no_grad()
    def latents(self, images: np.ndarray, generator: torch.Generator) -> torch.Tensor:
        """Return a draw of the scaled latents (B, 4, h, w) of uint8 (B, S, S, 3) images."""
        draws = []
        for part in torch.split(to_signed(images, self.device), 64):
            posterior = self.vae.encode(part).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=generator).to(self.device)
            draws.append((posterior.mean + posterior.std * noise).float() * self.scale)
        return torch.cat(draws)

    def loss(self, stills: Stills, chance: Randomness) -> torch.Tensor:
        """Return the v-prediction error of one batch.

        Noise levels that leave the image nearly clean are drawn less often, by min(1, gamma /
        SNR): they are easy, and the method starts at strength 0.6.
        """
        kept = [
            "" if chance.numpy.random() < self.settings.no_prompt else text
            for text in stills.captions
        ]
        clean = stills.latents
        steps = torch.multinomial(
            self.frequencies, len(clean), replacement=True, generator=chance.torch
        ).to(self.device)
        noise = torch.randn(clean.shape, generator=chance.torch).to(self.device)
        noisy = self.scheduler.add_noise(clean, noise, steps)
        mask, masked = self._holes(stills.images, chance)
        context = self.text_encoder(self.tokens(kept)).last_hidden_state
        found = self.unet(torch.cat([noisy, mask, masked], dim=1), steps, context).sample
        target = self.scheduler.get_velocity(clean, noise, steps)
        loss: torch.Tensor = (found.float() - target).square().mean()
        return loss

    def _holes(self, images: np.ndarray, chance: Randomness) -> tuple[torch.Tensor, torch.Tensor]:
        """Return masks (B, 1, h, w), 1 where to paint, and latents of what is left to see.

        Most images are to be painted whole, as the method does; the others have a rectangle.
        """
        count, size = len(images), self.settings.latent_size
        mask = torch.ones(count, 1, size, size)
        holed = np.flatnonzero(chance.numpy.random(count) < self.settings.hole)
        for index in holed:
            mask[index] = 0
            (top, left), (height, width) = (
                chance.numpy.integers(0, size // 2, 2),
                chance.numpy.integers(size // 4, size - 2, 2),
            )
            mask[index, :, top : top + height, left : left + width] = 1
        masked = self.blank.repeat(count, 1, 1, 1)
        if len(holed):
            shown = (1 - mask[holed, 0]).repeat_interleave(4, 1).repeat_interleave(4, 2).numpy()
            grey = np.where(shown[..., None] == 1, images[holed], np.uint8(128))
            masked[torch.from_numpy(holed).to(self.device)] = self.latents(grey, chance.torch)
        return mask.to(self.device), masked


class StillPool:
    """Stills that are composed and encoded once and then trained on a few times.

    Composing and encoding would take a seventh of a step. Which pool a step draws from depends
    on the step's number alone, so a resumed run sees what an undisturbed one sees.
    """

    def __init__(
        self, world: Scenes, painter: Painter, seed: int, size: int = 1024, uses: int = 3
    ) -> None:
        self.world, self.painter, self.seed, self.size, self.uses = (
            world, painter, seed, size, uses,
        )  # fmt: skip
        self.number = -1
        self.stills: Stills

    def batch(self, step: int, count: int, rng: np.random.Generator) -> Stills:
        """Return `count` stills for a step."""
        number = step * count // (self.size * self.uses)
        if number != self.number:
            chance = Randomness.of(self.seed, POOL_STREAM, number)
            images, captions = self.world.painter_batch(chance.numpy, self.size)
            latents = self.painter.latents(images, chance.torch)
            self.number, self.stills = number, Stills(images, captions, latents)
        return self.stills.chosen(rng.choice(self.size, count, replace=False))


def build_unet(settings: PainterSettings) -> Any:  # noqa: ANN401 - a UNet2DConditionModel
    """Return an untrained 9-channel UNet2DConditionModel with cross-attention below the top."""
    from diffusers import UNet2DConditionModel

    below = len(settings.widths) - 1
    return UNet2DConditionModel(
        sample_size=settings.latent_size,
        in_channels=9,
        out_channels=4,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * below),
        up_block_types=(*("CrossAttnUpBlock2D",) * below, "UpBlock2D"),
        block_out_channels=settings.widths,
        layers_per_block=settings.layers,
        norm_num_groups=settings.groups,
        attention_head_dim=settings.heads,  # diffusers' name for the number of heads
        cross_attention_dim=settings.text_width,
    )


def build_text_encoder(settings: PainterSettings, tokenizer: Any) -> Any:  # noqa: ANN401
    """Return an untrained CLIPTextModel for `tokenizer`'s vocabulary."""
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.text_width,
        intermediate_size=4 * settings.text_width,
        projection_dim=settings.text_width,
        num_hidden_layers=settings.text_layers,
        num_attention_heads=settings.heads,
        max_position_embeddings=settings.max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="eager",
    )
    return CLIPTextModel(config)


def build_scheduler() -> Any:  # noqa: ANN401 - a diffusers DDIMScheduler
    """Return Stable Diffusion's DDIM schedule, with v-prediction."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        steps_offset=1,
        clip_sample=False,
        set_alpha_to_one=False,
    )


def build_painter(
    vae: Any,  # noqa: ANN401 - a diffusers AutoencoderKL
    captions: Sequence[str],
    folder: Path,
    settings: PainterSettings,
) -> Painter:
    """Return an untrained painter over a trained VAE; its tokenizer's files go to `folder`."""
    from diffusers.models.attention_processor import AttnProcessor

    tokenizer = build_tokenizer(captions, folder, settings.max_length)
    unet, text_encoder = build_unet(settings), build_text_encoder(settings, tokenizer)
    unet.set_attn_processor(AttnProcessor())  # eager: a quarter faster than sdpa here, on CPU
    device = next(vae.parameters()).device
    return Painter(
        unet.to(device), text_encoder.to(device), tokenizer, vae, build_scheduler(), settings
    )


def load_vae(path: Path, device: torch.device) -> Any:  # noqa: ANN401 - an AutoencoderKL
    """Return the frozen VAE that train_vae wrote, in float32."""
    from diffusers import AutoencoderKL

    if not (path / "config.json").is_file():
        raise InputError(f"{path}: no VAE here; python -m tools.mini.train_vae makes one")
    vae = AutoencoderKL.from_pretrained(str(path), torch_dtype=torch.float32)
    return vae.requires_grad_(False).eval().to(device)
