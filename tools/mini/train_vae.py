"""Trains the autoencoder of the mini in-painter: 64 px images to 4 x 16 x 16 latents.

    python -m tools.mini.train_vae --work DIR --minutes 40 --threads 1

The result, DIR/vae, is a diffusers AutoencoderKL in float16.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from synood.files import replacing_directory
from tools.mini.options import loop_settings, parser, prepare
from tools.mini.training import (
    Randomness,
    Run,
    Scenes,
    half,
    to_signed,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

log = logging.getLogger(__name__)
VALIDATION_SEED = 20_001  # a stream that no training step draws from


@dataclass(frozen=True)
class VaeSettings:
    """Size and loss of the autoencoder; most of the cost is at full resolution, so that is thin."""

    widths: tuple[int, ...] = (16, 48, 96)  # at 64, 32 and 16 px
    layers: int = 1
    groups: int = 8
    latent_channels: int = 4
    image_size: int = 64
    kl_weight: float = (
        1e-3  # on the mean per latent element: keeps the latents smooth, costs < 0.1 dB
    )


def build_vae(settings: VaeSettings) -> Any:  # noqa: ANN401 - a diffusers AutoencoderKL
    """Return an untrained AutoencoderKL without attention."""
    from diffusers import AutoencoderKL

    blocks = len(settings.widths)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        block_out_channels=settings.widths,
        layers_per_block=settings.layers,
        latent_channels=settings.latent_channels,
        norm_num_groups=settings.groups,
        sample_size=settings.image_size,
        mid_block_add_attention=False,
        force_upcast=False,
    )


def vae_loss(
    vae: Any,  # noqa: ANN401 - a diffusers AutoencoderKL
    pixels: torch.Tensor,
    generator: torch.Generator,
    kl_weight: float,
) -> torch.Tensor:
    """Return the mean over (B, 3, S, S) images in [-1, 1] of the RMSE, plus the KL term.

    The root per image lies between the mean square error, which plain backgrounds hardly
    enter, and its logarithm, the PSNR.
    """
    posterior = vae.encode(pixels).latent_dist
    noise = torch.randn(posterior.mean.shape, generator=generator).to(pixels.device)
    rebuilt = vae.decode(posterior.mean + posterior.std * noise).sample.float()
    error = (rebuilt - pixels).square().mean(dim=(1, 2, 3))
    divergence = posterior.kl().mean() / posterior.mean[0].numel()
    loss: torch.Tensor = (error + 1e-5).sqrt().mean() + kl_weight * divergence
    return loss


def mixed_batch(world: Scenes, rng: np.random.Generator, n: int) -> np.ndarray:
    """Return n images, half of them the painter's, as uint8 (n, S, S, 3)."""
    painted, _ = world.painter_batch(rng, n // 2)
    scenes, _ = world.scene_batch(rng, n - n // 2)
    return np.concatenate([painted, scenes])


@torch.no_grad()
def psnr(vae: Any, pixels: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - an AutoencoderKL
    """Return the PSNR in dB of each rebuilt image of (B, 3, S, S) in [-1, 1]: (B,)."""
    rebuilt = [
        vae.decode(vae.encode(part).latent_dist.mode()).sample.clamp(-1, 1)
        for part in torch.split(pixels, 32)
    ]
    error = (torch.cat(rebuilt).float() - pixels).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(4 / error.clamp(min=1e-10))


@torch.no_grad()
def standardise(vae: Any, pixels: torch.Tensor) -> None:  # noqa: ANN401 - an AutoencoderKL
    """Rewrite the 1x1 convolutions around the latents so that each channel has mean 0, deviation 1.

    What the autoencoder rebuilds does not change; a diffusion model learns such latents best.
    `pixels` is (B, 3, S, S) in [-1, 1].
    """
    latents = torch.cat([vae.encode(part).latent_dist.mode() for part in torch.split(pixels, 32)])
    mean, scale = latents.mean(dim=(0, 2, 3)), 1 / latents.std(dim=(0, 2, 3))
    channels = len(mean)
    before, after = vae.quant_conv, vae.post_quant_conv
    after.bias += after.weight[:, :, 0, 0] @ mean
    after.weight /= scale[None, :, None, None]
    before.weight[:channels] *= scale[:, None, None, None]
    before.bias[:channels] = (before.bias[:channels] - mean) * scale
    before.bias[channels:] += 2 * scale.log()  # the other half is the logarithm of the variance


def export(vae: Any, pixels: torch.Tensor, folder: Path) -> None:  # noqa: ANN401 - an AutoencoderKL
    """Write a standardised copy in float16 whose scaling factor is that of latents of `pixels`."""
    ready = copy.deepcopy(vae).float()
    standardise(ready, pixels)
    with torch.no_grad():
        latents = torch.cat([ready.encode(p).latent_dist.mode() for p in torch.split(pixels, 32)])
    ready.register_to_config(scaling_factor=round(1 / float(latents.std()), 4))
    with replacing_directory(folder) as part:
        half(ready).save_pretrained(part)  # type: ignore[operator]


def train_vae(
    world: Scenes, run: Run, settings: VaeSettings, batch_size: int, folder: Path
) -> None:
    """Train `run.modules["vae"]` on the scenes of `world` and write the average to `folder`."""
    device = next(run.modules.parameters()).device
    rng = Randomness.of(run.settings.seed, VALIDATION_SEED).numpy
    images = {"stills": world.painter_batch(rng, 64)[0], "scenes": world.scene_batch(rng, 64)[0]}
    validation = {name: to_signed(batch, device) for name, batch in images.items()}

    def loss_of(chance: Randomness) -> torch.Tensor:
        pixels = to_signed(mixed_batch(world, chance.numpy, batch_size), device)
        return vae_loss(run.modules["vae"], pixels, chance.torch, settings.kl_weight)

    def check() -> None:
        vae = run.averages["vae"]
        found = {name: float(psnr(vae, pixels).mean()) for name, pixels in validation.items()}
        log.info("step %6d  PSNR unseen stills %.2f dB, scenes %.2f dB", run.step,
                 found["stills"], found["scenes"])  # fmt: skip
        export(vae, torch.cat(list(validation.values())), folder)

    run.train(loss_of, check, batch_size)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command: python -m tools.mini.train_vae --work DIR."""
    shared = parser("Train the autoencoder of the mini in-painter.", minutes=40)
    shared.add_argument(
        "--widths", type=int, nargs="+", default=VaeSettings.widths,
        help="channels at 64, 32 and 16 px",
    )  # fmt: skip
    options = shared.parse_args(arguments)
    world, device = prepare(options, "train_vae")
    settings = VaeSettings(widths=tuple(options.widths))
    batch_size = options.batch_size or 12
    torch.manual_seed(options.seed)  # the untrained weights
    modules = torch.nn.ModuleDict({"vae": build_vae(settings).to(device)})
    count = sum(parameter.numel() for parameter in modules.parameters())
    log.info("autoencoder of %.2f M parameters on %s", count / 1e6, device)
    run = Run(
        modules,
        loop_settings(options, learning_rate=1e-3),
        options.work / "train_vae.state",
        {"batch_size": batch_size, **asdict(settings)},
    )
    train_vae(world, run, settings, batch_size, options.work / "vae")


if __name__ == "__main__":
    main()
