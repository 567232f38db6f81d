"""Images used instead of the synthetic ones, to show what guided synthesis contributes.

A gain that a control has too is not due to guided synthesis: jigsaws keep colours and textures but
not the object; a round trip through the autoencoder only adds its artefacts; unguided in-painting
does everything except following the classifier's gradient.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from synood.benchmark.protocol.methods import SYNOOD, Method
from synood.files import fingerprint
from synood.images.square import to_unit_range
from synood.pipeline.executors.synthesizer import (
    BatchSynthesizer,
    SynthesizedBatch,
    read_square,
)
from synood.pipeline.stages.label_images import fitting
from synood.synthesis.jigsaw import GRID, jigsaw

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from numpy.typing import NDArray

    from synood.models.guide import Guide
    from synood.models.latents import LatentInpainter
    from synood.models.loaded import Models
    from synood.models.prompt_limits import PromptLimits
    from synood.pipeline.executors.synthesizer import Job
    from synood.pipeline.rundir.shards import SynthesisRequest
    from synood.settings import GuidanceSettings

    Pixels = NDArray[np.uint8]  # (B, S, S, 3) or one (S, S, 3)

_WITHOUT_PAINTER = tuple(need for need in SYNOOD.needs if need != "an in-painting model")

UNGUIDED = Method(
    "unguided",
    "unguided",
    "control: SynOOD's in-painting with step size 0",
    "inductive",
    SYNOOD.needs,
    is_control=True,
)
VAE = Method(
    "vae",
    "VAE round trip",
    "control: the in-distribution images through the in-painting model's autoencoder",
    "inductive",
    SYNOOD.needs,
    is_control=True,
)
JIGSAW = Method(
    "jigsaw",
    "jigsaw",
    f"control: the in-distribution images with {GRID} x {GRID} pieces shuffled",
    "inductive",
    _WITHOUT_PAINTER,
    is_control=True,
)
CONTROLS = (UNGUIDED, VAE, JIGSAW)
NEG_IMAGE = Method(
    "neg-image",
    "Neg Image",
    "SynOOD's table 4: text-to-image from the negative label alone",
    "inductive",
    SYNOOD.needs,
    is_control=True,
)


def control_synthesizer(
    control: Method, models: Models, guide: Guide, guidance: GuidanceSettings, batch_size: int
) -> BatchSynthesizer:
    """Return what makes the images of `control`, one of `CONTROLS` or `NEG_IMAGE`.

    Models and settings are those of the run that it is compared with.
    """
    inpainter = models.inpainter
    unguided = guidance.unguided()
    if control == NEG_IMAGE:  # at full strength nothing of the source is left
        whole = replace(unguided, strength=1.0)
        limits = models.bundle.prompt_limits()
        return _LabelSynthesizer(limits, inpainter, guide, whole, batch_size)
    if control == UNGUIDED:
        return BatchSynthesizer(inpainter, guide, unguided, batch_size)
    change = partial(_round_trips, inpainter) if control == VAE else _jigsaws
    return _ImageChanger(inpainter, guide, guidance, batch_size, change)


class _LabelSynthesizer(BatchSynthesizer):
    """Synthesizes from negative labels, which may be too long for the text tower."""

    def __init__(
        self,
        limits: PromptLimits | None,
        inpainter: LatentInpainter,
        guide: Guide,
        guidance: GuidanceSettings,
        batch_size: int,
    ) -> None:
        super().__init__(inpainter, guide, guidance, batch_size)
        self._limits = limits

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Check nothing: prompts that are too long are cut."""

    def synthesize(self, jobs: Sequence[Job]) -> SynthesizedBatch:
        """Synthesize from the labels, without the last words of those that are too long."""
        return super().synthesize(
            [
                (replace(request, prompt=fitting(request.prompt, self._limits)), source)
                for request, source in jobs
            ]
        )


class _ImageChanger(BatchSynthesizer):
    """Changes each in-distribution image, without a prompt."""

    def __init__(
        self,
        inpainter: LatentInpainter,
        guide: Guide,
        guidance: GuidanceSettings,
        batch_size: int,
        change: Callable[[Pixels, Sequence[int]], Pixels],
    ) -> None:
        super().__init__(inpainter, guide, guidance, batch_size)
        self._guide, self._guidance, self._change = guide, guidance, change

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Check nothing: no prompt is used."""

    def synthesize(self, jobs: Sequence[Job]) -> SynthesizedBatch:
        """Return the changed images with the energies before and after."""
        from synood.synthesis.guidance import Rendered

        size = self.inpainter.image_size
        images = np.stack([read_square(request, size) for request, _ in jobs])
        changed = self._change(images, [request.seed for request, _ in jobs])
        before, after = self._energies(images), self._energies(changed)
        return SynthesizedBatch(
            [
                Rendered(image, (), (energy,), source, "control")
                for image, energy, source in zip(changed, after, before, strict=True)
            ]
        )

    def _energies(self, images: Pixels) -> list[float]:
        import torch

        from synood.synthesis.guidance import energies

        pixels = torch.from_numpy(to_unit_range(images))
        return energies(self._guide, pixels, self._guidance)


def _round_trips(inpainter: LatentInpainter, images: Pixels, seeds: Sequence[int]) -> Pixels:
    import torch

    decoded = round_trip(inpainter, torch.from_numpy(to_unit_range(images)), seeds)
    changed: Pixels = (decoded * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return changed


def control_requests(
    control: Method, requests: Sequence[SynthesisRequest]
) -> list[SynthesisRequest]:
    """Return the requests of the synthesis, with fingerprints of their own.

    Prompts and seeds stay, so a control differs from the method in one thing only.
    """
    return [
        replace(request, inputs=fingerprint("control", control.name, GRID, request.inputs))
        for request in requests
    ]


def as_labels(
    requests: Sequence[SynthesisRequest], labels: Sequence[str]
) -> list[SynthesisRequest]:
    """Replace the requests' prompts with negative labels."""
    return [
        replace(request, prompt=label, inputs=fingerprint("label", label, request.inputs))
        for request, label in zip(requests, labels, strict=True)
    ]


def round_trip(
    inpainter: LatentInpainter, pixels: torch.Tensor, seeds: Sequence[int]
) -> torch.Tensor:
    """Encode and decode images (B, 3, S, S) in [0, 1], each posterior drawn from its own seed."""
    import torch

    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    with torch.no_grad():
        return inpainter.decode(inpainter.unscaled(inpainter.encode(pixels, generators)))


def _jigsaws(images: Pixels, seeds: Sequence[int]) -> Pixels:
    return np.stack([jigsaw(image, GRID, seed) for image, seed in zip(images, seeds, strict=True)])
