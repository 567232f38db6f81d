"""Guided in-painting compared with a direct implementation of the authors' loop.

The baseline embeds the prompts and encodes the grey image in every round, and computes the
gradient after the last round too. Both give the same images (checked), in turn in one process,
with the models of a bundle or, by default, random ones of the size of the mini bundle's. Beside
them: one rendering without guidance, with every step guided, and with the last four. Times are CPU
times, so other work on the machine matters little.

    OMP_NUM_THREADS=1 PYTHONPATH=src python perf/guidance.py [--bundle mini] [--batch 4]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

import tiny
from synood.benchmark.speed import timing
from synood.models.bundles import load_bundle
from synood.models.classifier import Classifier, TransformersClassifier
from synood.models.inpainting import Inpainter
from synood.settings import GuidanceSettings
from synood.synthesis.guidance import guided_inpainting
from synood.synthesis.objectives import energy_hinge

if TYPE_CHECKING:
    from collections.abc import Sequence

SETTINGS = GuidanceSettings(rounds=3, step_size=1.0, target=5.0)
STEP = replace(SETTINGS, method="step")
WAYS = {
    "guided": SETTINGS,
    "unguided": SETTINGS.unguided(),
    "every step": STEP,
    "last 4 steps": replace(STEP, guided_steps=4),
}
SIZE, CHANNELS = 64, (64, 128)


class Work(NamedTuple):
    inpainter: Inpainter
    classifier: Classifier
    pixels: torch.Tensor
    prompts: Sequence[str]
    seeds: Sequence[int]


def twin(work: Work) -> np.ndarray:
    """Paint as `guided_inpainting` does, with everything done in every round."""
    inpainter, classifier, pixels, prompts, seeds = work
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    latents, noise = inpainter.encode(pixels, generators), inpainter.draw_noise(generators)
    states = [generator.get_state() for generator in generators]
    for _ in range(SETTINGS.rounds):
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        conditioning = inpainter.condition(prompts, generators)
        denoised = inpainter.denoise(
            latents,
            noise,
            conditioning,
            SETTINGS.strength,
            SETTINGS.num_inference_steps,
            SETTINGS.guidance_scale,
            generators,
        ).requires_grad_()
        images = inpainter.decode(denoised)
        loss = energy_hinge(classifier.logits(images), SETTINGS.target).sum()
        noise = noise - SETTINGS.step_size * torch.autograd.grad(loss, denoised)[0]
    pixels: np.ndarray = (images.detach() * 255).round().permute(0, 2, 3, 1).numpy()
    return pixels.astype(np.uint8)


def guided(work: Work, settings: GuidanceSettings = SETTINGS) -> np.ndarray:
    inpainter, classifier, pixels, prompts, seeds = work
    rendered = guided_inpainting(inpainter, classifier, pixels, prompts, settings, seeds)
    return np.stack([one.image for one in rendered])


def random_models(root: Path) -> tuple[Inpainter, Classifier]:
    inpainter = tiny.tiny_inpainting(root / "paint", size=SIZE, unet_channels=CHANNELS)
    classifier = tiny.tiny_resnet(root / "judge", [f"class {number}" for number in range(52)], SIZE)
    return Inpainter.from_pretrained(inpainter), TransformersClassifier.from_pretrained(classifier)


def bundled_models(name: str) -> tuple[Inpainter, Classifier]:
    bundle = load_bundle(name)
    classifier = bundle.classifier()
    if classifier is None:
        raise SystemExit(f"the bundle {name} has no classifier")
    return bundle.inpainter(), classifier


def work_for(inpainter: Inpainter, classifier: Classifier, batch: int) -> Work:
    size = inpainter.image_size
    pixels = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
    return Work(inpainter, classifier, pixels, ["a photo of a cat"] * batch, range(batch))


def measure(work: Work, repeats: int) -> dict[str, float]:
    """Least CPU seconds of each, in turn; the images of the two that are twins are compared."""
    if np.abs(guided(work).astype(int) - twin(work)).max() > 1:
        raise SystemExit("the two give different images")
    ways = {name: partial(guided, work, settings) for name, settings in WAYS.items()}
    found = timing.compare({**ways, "twin": partial(twin, work)}, repeats)
    return {name: milliseconds / 1e3 for name, milliseconds in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bundle")
    parser.add_argument("--batch", type=int, default=4)
    options = parser.parse_args()
    if options.bundle is None:
        with tempfile.TemporaryDirectory() as place:
            models = random_models(Path(place))
    else:
        models = bundled_models(options.bundle)
    least = measure(work_for(*models, options.batch), options.repeats)
    for name, seconds in least.items():
        share = seconds / least["guided"]
        print(f"{name:12} {seconds / options.batch:7.3f} CPU s an image, {share:.2f} of guided")
    print(f"load {os.getloadavg()[0]:.1f}, {torch.get_num_threads()} thread(s)")


if __name__ == "__main__":
    main()
