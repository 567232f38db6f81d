"""Synthesis requests -> synthetic images, a batch at a time, with models in this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from synood.features.unreadable import Unreadable, map_or_unreadable, map_padded
from synood.images.decoding import read_image
from synood.images.square import square, to_unit_range
from synood.models.memory import peak_memory, reset_peak
from synood.synthesis.memory import PiecewiseSynthesis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from synood.models.guide import Guide
    from synood.models.latents import LatentInpainter
    from synood.pipeline.rundir.shards import SynthesisRequest
    from synood.settings import GuidanceSettings
    from synood.synthesis.guidance import Rendered

MEASURE_BATCH = 16  # source images whose energy is measured together


@dataclass(frozen=True, eq=False)
class SourceImage:
    """What is known of a request's in-distribution image once its energy has been measured.

    `pixels` (S, S, 3) is the image at the in-painting model's size, None where it was not kept.
    """

    energy: float
    pixels: NDArray[np.uint8] | None = None


Job: TypeAlias = "tuple[SynthesisRequest, SourceImage | None]"
"""A request, and its source image where that has been read before."""


@dataclass(frozen=True)
class SynthesizedBatch:
    """The results of one batch of jobs, and their cost.

    `notices` say what was changed because memory ran out; `peak_memory` is in bytes, see
    `models.memory.peak_memory`.
    """

    results: Sequence[Rendered | Unreadable]
    notices: Sequence[str] = ()
    peak_memory: int = 0


class BatchSynthesizer:
    """Guided in-painting of batches of at most `batch_size` jobs.

    Every batch is padded to `batch_size`, so an image depends on its own request and on that
    number, not on the other jobs.
    """

    def __init__(
        self, inpainter: LatentInpainter, guide: Guide, settings: GuidanceSettings, batch_size: int
    ) -> None:
        self.inpainter = inpainter
        self.batch_size = batch_size
        self._synthesis = PiecewiseSynthesis(inpainter, guide, settings)

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Raise an `InputError` for a prompt that the text tower cannot take, before any work."""
        self.inpainter.check_prompts(sorted(set(prompts)))

    def synthesize(self, jobs: Sequence[Job]) -> SynthesizedBatch:
        """Synthesize one image for each job; a source that cannot be read is `Unreadable`."""
        device, notices = str(self.inpainter.device), list[str]()
        reset_peak(device)
        sources = map_or_unreadable(self._read, jobs)

        def synthesize_readable(
            batch: list[tuple[SynthesisRequest, NDArray[np.uint8], float | None]],
        ) -> list[Rendered]:
            requests, pixels, energies = zip(*batch, strict=True)
            rendered, said = self._synthesis.synthesize(
                to_unit_range(np.stack(pixels)),
                [request.prompt for request in requests],
                [request.seed for request in requests],
                None if None in energies else energies,
            )
            notices.extend(said)
            return rendered

        results = map_padded(sources, synthesize_readable, self.batch_size)
        return SynthesizedBatch(results, notices, peak_memory(device))

    def _read(self, job: Job) -> tuple[SynthesisRequest, NDArray[np.uint8], float | None]:
        request, source = job
        pixels = None if source is None else source.pixels
        if pixels is None:
            pixels = read_square(request, self.inpainter.image_size)
        return request, pixels, None if source is None else source.energy


def shuffled(jobs: Sequence[Job], size: int) -> SynthesizedBatch:
    """Return a jigsaw of each job's source, (size, size); one that cannot be read `Unreadable`."""
    from synood.synthesis.guidance import Rendered
    from synood.synthesis.jigsaw import GRID, jigsaw

    def shuffle(job: Job) -> Rendered:
        request, _ = job
        image = jigsaw(read_square(request, size), GRID, request.seed)
        return Rendered(image, losses=(), energies=(), source_energy=0.0, stop="jigsaw")

    return SynthesizedBatch(map_or_unreadable(shuffle, jobs))


def measure_sources(
    guide: Guide,
    requests: Sequence[SynthesisRequest],
    size: int,
    settings: GuidanceSettings,
    *,
    keep_pixels: bool = True,
) -> list[SourceImage | Unreadable]:
    """Return the energy of each request's in-distribution image, seen at the in-painter's size."""
    import torch

    from synood.synthesis.guidance import energies

    def measure(pixels: list[NDArray[np.uint8]]) -> list[SourceImage]:
        found = energies(guide, torch.from_numpy(to_unit_range(np.stack(pixels))), settings)
        return [
            SourceImage(energy, image if keep_pixels else None)
            for energy, image in zip(found, pixels, strict=True)
        ]

    found: list[SourceImage | Unreadable] = []
    for start in range(0, len(requests), MEASURE_BATCH):
        batch = requests[start : start + MEASURE_BATCH]
        sources = map_or_unreadable(lambda request: read_square(request, size), batch)
        found += map_padded(sources, measure, MEASURE_BATCH)
    return found


def read_square(request: SynthesisRequest, size: int) -> NDArray[np.uint8]:
    """Read a request's image as (size, size, 3); it must hold the bytes that were selected."""
    return square(read_image(request.path, request.sha256), size)
