"""Embed: images -> features of the run's encoder, each image decoded and encoded once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from synood.features.extractor import ImageFile
from synood.features.unreadable import Unreadable
from synood.pipeline.rundir.quarantine import BadImage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.pipeline.rundir.quarantine import Quarantine
    from synood.pipeline.rundir.selection import SelectedImage, Use
    from synood.pipeline.rundir.shards import SyntheticImage
    from synood.pipeline.stages.context import RunContext

ImageFeatures: TypeAlias = Mapping[str, NDArray[np.float32]]
"""Features (1 + views, D) by image id: of the image itself, then of its views."""


@dataclass(frozen=True)
class Selection:
    """The images that a run uses, with their features."""

    images: tuple[SelectedImage, ...]
    features: ImageFeatures

    def used_for(self, use: Use) -> tuple[SelectedImage, ...]:
        """Return the images with one use."""
        return tuple(image for image in self.images if use in image.uses)

    def class_images(self) -> tuple[SelectedImage, ...]:
        """Return the images that the projection learns the classes from."""
        return tuple(image for image in self.images if image.teaches_its_class)

    def rows(self, images: Sequence[SelectedImage], view: int = 0) -> NDArray[np.float32]:
        """Return the features (N, D) of some of the images, or of a view of each."""
        rows = [self.features[image.id][view] for image in images]
        return np.stack(rows) if rows else np.zeros((0, 0), np.float32)

    def without(self, quarantine: Quarantine) -> Selection:
        """Return the selection without the images that were quarantined since."""
        left = quarantine.without(self.images, lambda image: image.id)
        return replace(self, images=tuple(left))


def embed_images(
    run: RunContext, images: Sequence[SelectedImage]
) -> tuple[ImageFeatures, list[BadImage]]:
    """Return the features of the selected images, and which cannot be read."""
    views = run.recipe.projection.views
    counts = [1 + views if image.teaches_its_class else 1 for image in images]
    files = [
        ImageFile(image.path, image.sha256, view)
        for image, count in zip(images, counts, strict=True)
        for view in range(count)
    ]
    rows = iter(run.store.images_or_unreadable(files, run.progress("features")))
    features: dict[str, NDArray[np.float32]] = {}
    bad = []
    for image, count in zip(images, counts, strict=True):
        own = [next(rows) for _ in range(count)]
        reasons = [row.reason for row in own if isinstance(row, Unreadable)]
        if reasons:
            bad.append(BadImage(image.id, image.path, reasons[0]))
        else:
            features[image.id] = np.stack([row for row in own if not isinstance(row, Unreadable)])
    return features, bad


def embed_synthetic(run: RunContext, synthetic: Sequence[SyntheticImage]) -> NDArray[np.float32]:
    """Return the features (m, D) of the synthetic images."""
    if not synthetic:
        return np.zeros((0, run.models.encoder.dim), np.float32)
    files = [ImageFile(image.path, image.sha256) for image in synthetic]
    return run.store.images(files, run.progress("embed"))
