"""Trains the mini in-painter: a 9-channel latent U-Net and its text tower, jointly.

    python -m tools.mini.train_painter --work DIR --minutes 90 --threads 1 --vae DIR/vae

The result, DIR/painter, is a diffusers StableDiffusionInpaintPipeline in float16. Contact sheets
of what it paints, from noise and over another scene, are written to DIR while it trains.
"""

from __future__ import annotations

import copy
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from synood.files import replacing_directory, sha256_file
from tools.mini.contact_sheet import contact_sheet
from tools.mini.options import loop_settings, parser, prepare
from tools.mini.painter import Painter, PainterSettings, StillPool, build_painter, load_vae
from tools.mini.tokenizer import write_files
from tools.mini.training import (
    Randomness,
    Run,
    Scenes,
    half,
    to_signed,
    to_uint8,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)
SHEET_STREAM = 20_002  # a stream of randomness that no training step draws from


def pipeline(painter: Painter, averages: torch.nn.ModuleDict | None = None) -> Any:  # noqa: ANN401
    """Return the painter, with averaged weights if given, as a StableDiffusionInpaintPipeline."""
    from diffusers import StableDiffusionInpaintPipeline

    made = StableDiffusionInpaintPipeline(
        vae=painter.vae,
        text_encoder=averages["text_encoder"] if averages else painter.text_encoder,
        tokenizer=painter.tokenizer,
        unet=averages["unet"] if averages else painter.unet,
        scheduler=copy.deepcopy(painter.scheduler),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    made.set_progress_bar_config(disable=True)
    return made


def export(painter: Painter, averages: torch.nn.ModuleDict, folder: Path) -> None:
    """Write the averaged painter to `folder` as a float16 StableDiffusionInpaintPipeline."""
    ready = pipeline(painter, averages)
    for name in ("vae", "unet", "text_encoder"):
        setattr(ready, name, half(getattr(ready, name)))
    with replacing_directory(folder) as part:
        ready.save_pretrained(part, safe_serialization=True)
        _write_classic_tokenizer(ready.tokenizer, part / "tokenizer")


def _write_classic_tokenizer(tokenizer: Any, folder: Path) -> None:  # noqa: ANN401
    """Replace the tokenizer.json of transformers 5 by the files every version reads."""
    backend = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    write_files(tokenizer.get_vocab(), [tuple(pair) for pair in backend["model"]["merges"]], folder)
    (folder / "tokenizer.json").unlink()


@torch.no_grad()
def paint(
    ready: Any,  # noqa: ANN401 - a StableDiffusionInpaintPipeline
    prompts: Sequence[str],
    sources: torch.Tensor,
    strength: float,
    guidance_scale: float = 5.0,
) -> torch.Tensor:
    """Paint each prompt over a source (B, 3, S, S) in [-1, 1] in 20 DDIM steps; same shape."""
    size = sources.shape[-1]
    painted = ready(
        list(prompts),
        image=(sources + 1) / 2,
        mask_image=torch.ones(len(sources), 1, size, size),
        height=size,
        width=size,
        strength=strength,
        num_inference_steps=20,
        guidance_scale=guidance_scale,
        generator=torch.Generator().manual_seed(0),
        output_type="pt",
    ).images
    return (painted * 2 - 1).cpu()  # type: ignore[no-any-return]


def draw_sheet(
    world: Scenes, painter: Painter, averages: torch.nn.ModuleDict, seed: int, path: Path
) -> None:
    """Write a sheet of prompts painted from noise and, under it, over another scene."""
    rng, count = Randomness.of(seed, SHEET_STREAM).numpy, painter.settings.sheet
    _, prompts = world.painter_batch(rng, count)
    sources = to_signed(world.scene_batch(rng, count)[0], painter.device)
    ready = pipeline(painter, averages)
    rows = [("from noise", paint(ready, prompts, sources, 1.0))]
    rows.append(("over a scene, strength 0.6", paint(ready, prompts, sources, 0.6)))
    contact_sheet([(title, to_uint8(pixels)) for title, pixels in rows], prompts, path)


def train_painter(world: Scenes, painter: Painter, run: Run, batch_size: int, folder: Path) -> None:
    """Train the U-Net and text tower on the stills of `world`; write sheets and the pipeline.

    The run's modules are the painter's `unet` and `text_encoder`.
    """
    pool = StillPool(world, painter, run.settings.seed)

    def loss_of(chance: Randomness) -> torch.Tensor:
        return painter.loss(pool.batch(run.step, batch_size, chance.numpy), chance)

    def check() -> None:
        sheet = folder / f"sheet-{run.step:06d}.png"
        with torch.autocast(painter.device.type, torch.bfloat16, enabled=run.settings.bf16):
            draw_sheet(world, painter, run.averages, run.settings.seed, sheet)
        export(painter, run.averages, folder / "painter")
        log.info("step %6d  wrote %s", run.step, sheet)

    run.train(loss_of, check, batch_size)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command: python -m tools.mini.train_painter --work DIR --vae DIR/vae."""
    shared = parser("Train the mini in-painter.", minutes=90)
    shared.add_argument("--vae", type=Path, help="what train_vae wrote; default WORK/vae")
    shared.add_argument("--widths", type=int, nargs="+", default=list(PainterSettings.widths))
    shared.set_defaults(check_minutes=10.0)
    options = shared.parse_args(arguments)
    world, device = prepare(options, "train_painter")
    settings = PainterSettings(widths=tuple(options.widths))
    batch_size = options.batch_size or 32
    torch.manual_seed(options.seed)  # the untrained weights
    vae_folder = options.vae or options.work / "vae"
    vae = load_vae(vae_folder, device)
    folder = options.work / "painter-tokenizer"
    painter = build_painter(vae, world.painter_captions(), folder, settings)
    modules = torch.nn.ModuleDict({"unet": painter.unet, "text_encoder": painter.text_encoder})
    for name, module in modules.items():
        count = sum(parameter.numel() for parameter in module.parameters())
        log.info("%s of %.2f M parameters on %s", name, count / 1e6, device)
    run = Run(
        modules,
        loop_settings(options, learning_rate=6e-4),
        options.work / "train_painter.state",
        {
            "batch_size": batch_size,
            "vae": sha256_file(vae_folder / "diffusion_pytorch_model.safetensors"),
            **asdict(settings),
        },
    )
    train_painter(world, painter, run, batch_size, options.work)


if __name__ == "__main__":
    main()
