"""Random pictures and prompts painted with tiny in-painters, by synood and by diffusers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from small_classifier import SmallClassifier
from synood.files import read_json
from synood.settings import GuidanceSettings
from synood.synthesis.guidance import guided_inpainting

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pytest

    from synood.models.denoising import Forecast
    from synood.models.inpainting import Inpainter
    from synood.models.latents import LatentInpainter
    from synood.synthesis.guidance import Rendered

PROMPTS = ["a photo of a cat", "A photo only remain tree."]
SIDE = 32  # pixels
GENTLE = GuidanceSettings(
    strength=0.6, num_inference_steps=4, guidance_scale=2.0, step_size=0.5, target=3.0
)


def random_pixels(images: int = 2, side: int = SIDE) -> torch.Tensor:
    """Noise in [0, 1], the same in every call: (N, 3, side, side)."""
    return torch.rand(images, 3, side, side, generator=torch.Generator().manual_seed(5))


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def paint(
    inpainter: Inpainter,
    pixels: torch.Tensor,
    prompts: Sequence[str],
    seeds: Sequence[int],
    strength: float = 0.6,
    steps: int = 10,
    scale: float = 8.0,
) -> torch.Tensor:
    """Paint each image with noise of its own: (N, 3, S, S) in [0, 1]."""
    draws = generators(*seeds)
    # at strength 1 the pipeline draws no latents, unless the U-Net is one for text-to-image
    unread = strength == 1 and inpainter._network.config.in_channels > 4
    latents = torch.zeros(()) if unread else inpainter.encode(pixels, draws)
    noise = inpainter.draw_noise(draws)
    conditioning = inpainter.condition(prompts, draws)
    latents = inpainter.denoise(latents, noise, conditioning, strength, steps, scale, draws)
    with torch.no_grad():
        return inpainter.decode(latents)


def paint_with_diffusers(
    directory: Path,
    pixels: torch.Tensor,
    prompts: Sequence[str],
    seeds: Sequence[int],
    strength: float = 0.6,
    steps: int = 10,
    scale: float = 8.0,
) -> torch.Tensor:
    """The same by the pipeline that the checkpoint's index names."""
    import diffusers

    kind = read_json(directory / "model_index.json")["_class_name"]
    pipeline = getattr(diffusers, kind).from_pretrained(directory)
    pipeline.set_progress_bar_config(disable=True)
    images: torch.Tensor = pipeline(
        prompt=list(prompts),
        image=pixels,
        mask_image=torch.ones(len(pixels), 1, SIDE, SIDE),
        height=SIDE,
        width=SIDE,
        strength=strength,
        num_inference_steps=steps,
        guidance_scale=scale,
        generator=generators(*seeds),
        output_type="pt",
    ).images
    return images


def guide(
    inpainter: LatentInpainter,
    pixels: torch.Tensor,
    options: GuidanceSettings = GENTLE,
    classifier: Any = None,
    seeds: Sequence[int] = (1, 2),
    prompts: Sequence[str] = PROMPTS,
    **how: Any,
) -> list[Rendered]:
    """Guided in-painting; a small random network guides where no classifier is given."""
    return guided_inpainting(
        inpainter, classifier or SmallClassifier(), pixels, prompts, options, seeds, **how
    )


def images(rendered: Sequence[Rendered]) -> np.ndarray:
    """The bytes of all images, (N, S, S, 3)."""
    return np.stack([one.image for one in rendered])


def changes_of(
    inpainter: LatentInpainter,
    pixels: torch.Tensor,
    options: GuidanceSettings,
    classifier: Any,
    monkeypatch: pytest.MonkeyPatch,
    **how: Any,
) -> tuple[list[tuple[Forecast, torch.Tensor]], list[Rendered]]:
    """The forecast and the change of every guided step, and what came of it."""
    seen = []
    kind = type(inpainter)
    original = kind.denoise
    with monkeypatch.context() as patch:

        def recorded(self, *arguments):
            *rest, steer = arguments

            def noted(forecast):
                change = steer(forecast)
                seen.append((forecast, change))
                return change

            return original(self, *rest, noted)

        patch.setattr(kind, "denoise", recorded)
        rendered = guide(inpainter, pixels, options, classifier, **how)
    return seen, rendered
