"""The tasks of a run that an executor spreads: to describe, to judge, to paint, to encode."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from synood.features.extractor import ImageFile, encode_files
from synood.features.unreadable import Unreadable, map_or_unreadable, map_padded
from synood.images.decoding import read_image
from synood.labels.prompts import without_wnid
from synood.models.describer import NoDescription

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from synood.models.guide import Guide
    from synood.models.loaded import Models
    from synood.pipeline.rundir.shards import Order
    from synood.pipeline.stages.painting import Painted
    from synood.pipeline.stages.select import Picture
    from synood.settings import GuidanceSettings


@dataclass(frozen=True)
class Probe:
    """A linear probe as plain data: weight (C, D) and bias (C,), float32, and C class names."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class Labels:
    """The two sides of the encoder's margin as plain data: unit rows (C, D) and (M, D), float32."""

    class_features: NDArray[np.float32]
    negative_features: NDArray[np.float32]
    temperature: float


Guiding: TypeAlias = Probe | Labels | None
"""What guides: a probe, the margin between labels, or None for the bundle's own classifier."""


@dataclass(frozen=True)
class Describe:
    """Pictures in, the text of what is around each subject out."""

    models: Models

    def begin(
        self, device: str | None = None
    ) -> Callable[[Sequence[Picture]], list[str | Unreadable]]:
        """Load the describer."""
        describer = self.models.on(device).describer

        def described(read: list[tuple[Picture, Image]]) -> list[str | Unreadable]:
            labels = [without_wnid(picture.label) for picture, _ in read]
            ids = [picture.id for picture, _ in read]
            texts = describer.describe([image for _, image in read], labels, ids)
            return [
                Unreadable(text.reason) if isinstance(text, NoDescription) else text
                for text in texts
            ]

        def work(pictures: Sequence[Picture]) -> list[str | Unreadable]:
            return map_padded(map_or_unreadable(_with_image, pictures), described)

        return work


@dataclass(frozen=True)
class Judge:
    """Orders in, the energies of their in-distribution images out."""

    models: Models
    guiding: Guiding
    size: int  # of the in-painter's pictures
    settings: GuidanceSettings

    def begin(
        self, device: str | None = None
    ) -> Callable[[Sequence[Order]], list[float | Unreadable]]:
        """Load the guide."""
        from synood.pipeline.stages.target import energies_of

        guide = guide_of(self.models.on(device), self.guiding)
        return lambda orders: energies_of(guide, orders, self.size, self.settings)


@dataclass(frozen=True)
class Paint:
    """Orders in, as many pictures out."""

    models: Models
    guiding: Guiding
    settings: GuidanceSettings
    batch_size: int

    def begin(self, device: str | None = None) -> Callable[[Sequence[Order]], Painted]:
        """Load the in-painter and the guide."""
        from synood.pipeline.stages.painting import Painter

        models = self.models.on(device)
        guide = guide_of(models, self.guiding)
        return Painter(models.inpainter, guide, self.settings, self.batch_size).painted


@dataclass(frozen=True)
class TryOut:
    """A number of pictures in, how many of them are best painted at a time out."""

    models: Models
    guiding: Guiding
    settings: GuidanceSettings

    def begin(self, device: str | None = None) -> Callable[[int], int]:
        """Load the in-painter and the guide."""
        from synood.synthesis.memory import fitting_batch_size

        models = self.models.on(device)
        guide = guide_of(models, self.guiding)
        return partial(fitting_batch_size, models.inpainter, guide, self.settings)


@dataclass(frozen=True)
class Encode:
    """Image files in, the feature (D,) of each out, not normalised."""

    models: Models

    def begin(
        self, device: str | None = None
    ) -> Callable[[Sequence[ImageFile]], list[NDArray[np.float32] | Unreadable]]:
        """Load the encoder."""
        encoder = self.models.on(device).encoder
        return lambda files: encode_files(encoder, files)


def _with_image(picture: Picture) -> tuple[Picture, Image]:
    return picture, read_image(picture.path, picture.sha256)


def guide_of(models: Models, guiding: Guiding) -> Guide:
    """Return what judges pictures, with the models' encoder or their classifier."""
    if isinstance(guiding, Labels):
        from synood.models.guide import MarginGuide

        texts = guiding.class_features, guiding.negative_features
        return MarginGuide(models.encoder, *texts, guiding.temperature)
    if guiding is None:
        classifier = models.classifier
        assert classifier is not None, "the run has seen that the bundle has one"
        return classifier
    from synood.models.classifier import ProbeClassifier

    return ProbeClassifier(models.encoder, guiding.weight, guiding.bias, guiding.class_names)
