"""The row of `synood bench` about one guided image, beside a loop over diffusers' pipeline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from synood.benchmark.speed.data import row_of
from synood.benchmark.speed.timing import Timed, compare
from synood.settings import GuidanceSettings

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from synood.models.classifier import Classifier
    from synood.models.latents import LatentInpainter

SETTINGS = GuidanceSettings(rounds=3, step_size=1.0, target=5.0)
STEP = replace(SETTINGS, method="step")
PROMPT, SEED = "a photo of a cat", 0


@dataclass(frozen=True, eq=False)
class Painting:
    """The embedded painter and guide, the pipeline of diffusers with the same weights, an image."""

    inpainter: LatentInpainter
    guide: Classifier
    pipeline: Any  # diffusers is untyped here
    pixels: torch.Tensor  # (1, 3, S, S) in [0, 1]

    @classmethod
    def embedded(cls) -> Painting:
        """Load those of the bundle `mini`."""
        import torch

        from synood.models.bundles import load_bundle
        from synood.models.stock import stock_pipeline

        bundle = load_bundle("mini")
        inpainter, guide = bundle.inpainter(), bundle.classifier()
        assert guide is not None
        size = inpainter.image_size
        pixels = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
        return cls(inpainter, guide, stock_pipeline(bundle), pixels)

    def ours(self, settings: GuidanceSettings = SETTINGS) -> NDArray[np.uint8]:
        """Paint with the package: (S, S, 3)."""
        from synood.synthesis.guidance import guided_inpainting

        (rendered,) = guided_inpainting(
            self.inpainter, self.guide, self.pixels, [PROMPT], settings, [SEED]
        )
        return rendered.image

    def plain(self, settings: GuidanceSettings = SETTINGS) -> NDArray[np.uint8]:
        """Paint by calling the pipeline once a round, and moving its noise by the gradient."""
        import torch

        from synood.synthesis.objectives import energy_hinge

        vae = self.pipeline.vae
        generator = torch.Generator().manual_seed(SEED)
        with torch.no_grad():
            latents = vae.encode(2 * self.pixels - 1).latent_dist.sample(generator)
        latents = latents * vae.config.scaling_factor
        noise = torch.randn(latents.shape, generator=generator)
        state = generator.get_state()
        for _ in range(settings.rounds):
            generator.set_state(state)
            clean = self._rendering(latents, noise, settings, generator) / vae.config.scaling_factor
            clean.requires_grad_()
            image = (vae.decode(clean).sample / 2 + 0.5).clamp(0, 1)
            loss = energy_hinge(self.guide.logits(image), settings.target).sum()
            noise = noise - settings.step_size * torch.autograd.grad(loss, clean)[0]
        grey: NDArray[np.float32] = (image[0].detach() * 255).round().permute(1, 2, 0).numpy()
        return grey.astype(np.uint8)

    def _rendering(
        self,
        latents: torch.Tensor,
        noise: torch.Tensor,
        settings: GuidanceSettings,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Call the pipeline, from noised latents to those of an image."""
        import torch

        steps, scheduler = settings.num_inference_steps, self.pipeline.scheduler
        scheduler.set_timesteps(steps)
        first = scheduler.timesteps[steps - int(steps * settings.strength)]
        painted: torch.Tensor = self.pipeline(
            prompt=PROMPT,
            image=self.pixels,
            mask_image=torch.ones_like(self.pixels[:, :1]),
            latents=scheduler.add_noise(latents, noise, first[None]),
            strength=settings.strength,
            num_inference_steps=steps,
            guidance_scale=settings.guidance_scale,
            generator=generator,
            output_type="latent",
        ).images
        return painted


def guided(folder: Path, runs: int) -> list[Timed]:
    """One image in three guided rounds, beside the same by the pipeline and the other ways."""
    what = f"one image in {SETTINGS.rounds} rounds, bundle mini"
    if find_spec("diffusers") is None:
        return [Timed("guided", what, None, {}, ("the extra synth",))]
    work = Painting.embedded()
    found = compare(
        {
            "ours": work.ours,
            "a loop over diffusers' pipeline": work.plain,
            "unguided, one rendering": partial(work.ours, SETTINGS.unguided()),
            "every step guided": partial(work.ours, STEP),
            "the last 4 steps guided": partial(work.ours, replace(STEP, guided_steps=4)),
        },
        runs,
    )
    return [row_of("guided", what, found)]
