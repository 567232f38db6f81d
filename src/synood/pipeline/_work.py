"""The tasks of a run that an executor spreads: to describe, to judge, to paint, to encode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synood.images.reading import read_image
from synood.labels.prompts import spoken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from synood.models.classifier import Classifier
    from synood.models.clip import ImageTextEncoder
    from synood.pipeline._models import Models
    from synood.pipeline._select import Picture
    from synood.pipeline._shards import Order
    from synood.settings import GuidanceSettings
    from synood.synthesis.guidance import Rendered

READ_AT_ONCE = 16  # decoded images held in memory


@dataclass(frozen=True)
class Probe:
    """A linear probe as plain data: weight (C, D) and bias (C,), float32, and C class names."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class Describe:
    """Pictures in, the text of what is around each subject out."""

    models: Models

    def begin(self, device: str | None = None) -> Callable[[Sequence[Picture]], list[str]]:
        """Load the describer."""
        describer = self.models.on(device).describer

        def work(pictures: Sequence[Picture]) -> list[str]:
            images = [read_image(picture.path) for picture in pictures]
            labels = [spoken(picture.label) for picture in pictures]
            return describer.describe(images, labels, [picture.id for picture in pictures])

        return work


@dataclass(frozen=True)
class Judge:
    """Orders in, the energies of their in-distribution images out."""

    models: Models
    probe: Probe | None  # None where the bundle's own classifier judges
    size: int  # of the in-painter's pictures
    temperature: float

    def begin(self, device: str | None = None) -> Callable[[Sequence[Order]], list[float]]:
        """Load the classifier."""
        from synood.pipeline._target import energies

        classifier = classifier_of(self.models.on(device), self.probe)
        return lambda orders: energies(classifier, orders, self.size, self.temperature)


@dataclass(frozen=True)
class Paint:
    """Orders in, as many pictures out."""

    models: Models
    probe: Probe | None
    settings: GuidanceSettings

    def begin(self, device: str | None = None) -> Callable[[Sequence[Order]], list[Rendered]]:
        """Load the in-painter and the classifier."""
        from synood.pipeline._painting import Painter

        models = self.models.on(device)
        classifier = classifier_of(models, self.probe)
        return Painter(models.inpainter, classifier, self.settings, batch_size=1).paint


@dataclass(frozen=True)
class Encode:
    """Paths of images in, their features (N, D) out, not normalised."""

    models: Models

    def begin(self, device: str | None = None) -> Callable[[Sequence[Path]], NDArray[np.float32]]:
        """Load the encoder."""
        encoder = self.models.on(device).encoder
        return lambda paths: encode_files(encoder, paths)


def encode_files(encoder: ImageTextEncoder, paths: Sequence[Path]) -> NDArray[np.float32]:
    """Read and encode images, a few at a time: (N, D), not normalised."""
    parts = [
        encoder.encode_images([read_image(path) for path in paths[start : start + READ_AT_ONCE]])
        for start in range(0, len(paths), READ_AT_ONCE)
    ]
    return np.concatenate(parts)


def classifier_of(models: Models, probe: Probe | None) -> Classifier:
    """Return the linear probe on the models' encoder, or without one the bundle's classifier."""
    if probe is None:
        classifier = models.classifier
        assert classifier is not None, "the run has seen that the bundle has one"
        return classifier
    from synood.models.classifier import ProbeClassifier

    return ProbeClassifier(models.encoder, probe.weight, probe.bias, probe.class_names)
