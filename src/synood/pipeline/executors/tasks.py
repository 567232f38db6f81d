"""The tasks of a run that an executor distributes: describe, encode, measure, synthesize."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from synood.features.extractor import Feature, ImageFile, encode_files
from synood.features.unreadable import Unreadable, map_or_unreadable, map_padded
from synood.images.decoding import read_image
from synood.labels.prompts import without_wnid
from synood.models.describer import FileDescriber, NoDescription, Tagger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL.Image import Image

    from synood.models.describer import Describer
    from synood.models.guide import GuideSpec
    from synood.models.loaded import Models
    from synood.pipeline.executors.synthesizer import Job, SourceImage, SynthesizedBatch
    from synood.pipeline.rundir.selection import SelectedImage
    from synood.pipeline.rundir.shards import SynthesisRequest
    from synood.settings import GuidanceSettings

ToDescribe: TypeAlias = "tuple[SelectedImage, Feature]"
"""An image, and its feature by the bundle's encoder."""


@dataclass(frozen=True)
class Encode:
    """Image files in, the feature (D,) of each out, not normalised."""

    models: Models

    def begin(
        self, device: str | None = None
    ) -> Callable[[Sequence[ImageFile]], list[Feature | Unreadable]]:
        """Load the encoder."""
        models = self.models.on(device)
        encoder = models.encoder
        return lambda files: encode_files(encoder, files, models.device)


@dataclass(frozen=True)
class Describe:
    """Images in, the text of what is around each subject out."""

    models: Models

    def begin(
        self, device: str | None = None
    ) -> Callable[[Sequence[ToDescribe]], list[str | Unreadable]]:
        """Load the describer."""
        return partial(_describe, self.models.on(device).describer)


def _describe(describer: Describer, batch: Sequence[ToDescribe]) -> list[str | Unreadable]:
    """Describe a batch; only a describer that looks at pixels has the images decoded."""
    labels = [without_wnid(image.label) for image, _ in batch]
    if isinstance(describer, Tagger):
        return [*describer.describe_features(np.stack([row for _, row in batch]), labels)]
    if isinstance(describer, FileDescriber):
        return [*describer.texts([image.id for image, _ in batch])]
    return map_padded(map_or_unreadable(_with_pixels, batch), partial(_describe_pixels, describer))


def _describe_pixels(
    describer: Describer, seen: Sequence[tuple[SelectedImage, Image]]
) -> list[str | Unreadable]:
    texts = describer.describe(
        [pixels for _, pixels in seen],
        [without_wnid(image.label) for image, _ in seen],
        [image.id for image, _ in seen],
    )
    return [Unreadable(text.reason) if isinstance(text, NoDescription) else text for text in texts]


def _with_pixels(item: ToDescribe) -> tuple[SelectedImage, Image]:
    image, _ = item
    return image, read_image(image.path, image.sha256)


@dataclass(frozen=True)
class MeasureEnergies:
    """Synthesis requests in, the energies of their in-distribution images out.

    `size` is that of the in-painting model's images.
    """

    models: Models
    guide: GuideSpec
    size: int
    settings: GuidanceSettings
    keep_pixels: bool

    def begin(
        self, device: str | None = None
    ) -> Callable[[Sequence[SynthesisRequest]], list[SourceImage | Unreadable]]:
        """Load the guide."""
        from synood.models.guide import load_guide
        from synood.pipeline.executors.synthesizer import measure_sources

        guide = load_guide(self.models.on(device), self.guide, self.settings.preprocess)
        return lambda requests: measure_sources(
            guide, requests, self.size, self.settings, keep_pixels=self.keep_pixels
        )


@dataclass(frozen=True)
class Synthesize:
    """Jobs in, as many synthetic images out."""

    models: Models
    guide: GuideSpec
    settings: GuidanceSettings
    batch_size: int

    def begin(self, device: str | None = None) -> Callable[[Sequence[Job]], SynthesizedBatch]:
        """Load the in-painting model and the guide."""
        from synood.models.guide import load_guide
        from synood.pipeline.executors.synthesizer import BatchSynthesizer

        models = self.models.on(device)
        guide = load_guide(models, self.guide, self.settings.preprocess)
        return BatchSynthesizer(models.inpainter, guide, self.settings, self.batch_size).synthesize


@dataclass(frozen=True)
class Shuffle:
    """Jobs in, as many images of `size` pixels a side with shuffled pieces out; no model."""

    size: int

    def begin(self, device: str | None = None) -> Callable[[Sequence[Job]], SynthesizedBatch]:
        """Load nothing."""
        from synood.pipeline.executors.synthesizer import shuffled

        return partial(shuffled, size=self.size)


@dataclass(frozen=True)
class FitBatchSize:
    """A number of images in, the batch size that fits into memory out."""

    models: Models
    guide: GuideSpec
    settings: GuidanceSettings

    def begin(self, device: str | None = None) -> Callable[[int], int]:
        """Load the in-painting model and the guide."""
        from synood.models.guide import load_guide
        from synood.synthesis.memory import fitting_batch_size

        models = self.models.on(device)
        guide = load_guide(models, self.guide, self.settings.preprocess)
        return partial(fitting_batch_size, models.inpainter, guide, self.settings)
