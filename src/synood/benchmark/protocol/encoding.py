"""Image sets as seen by the networks: each image is encoded once, for all methods."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from synood.errors import InputError
from synood.features.extractor import ImageFile
from synood.files import fingerprint, sha256_file
from synood.images.decoding import read_image
from synood.images.presets import reading_of
from synood.images.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray
    from PIL import Image

    from synood.benchmark.suites.suite import ImageSet
    from synood.features.store import FeatureStore
    from synood.images.sources import ImageIndex, ImageRecord
    from synood.models.classifier import Classifier
    from synood.models.clip import ImageTextEncoder
    from synood.models.guide import Guide

BATCH_SIZE = 64  # images read and encoded at a time


@dataclass(frozen=True, eq=False)
class SetImages:
    """The files of a set and the networks, for what is not computed in advance."""

    records: Sequence[ImageRecord]
    classifier: Classifier
    encoder: ImageTextEncoder

    @property
    def paths(self) -> tuple[Path, ...]:
        """Paths of the files, in the order of the rows."""
        return tuple(record.path for record in self.records)

    def batches(self) -> Iterator[list[Image.Image]]:
        """Read the images in batches, in order."""
        reading = reading_of(self.encoder)
        for start in range(0, len(self.records), BATCH_SIZE):
            some = self.records[start : start + BATCH_SIZE]
            yield [read_image(item.path, reading=reading) for item in some]

    def pixels(self) -> Iterator[torch.Tensor]:
        """Yield (B, 3, H, W) in [0, 1], in order; a batch has images of one size."""
        for images in self.batches():
            yield from pixel_batches(images)


@dataclass(frozen=True, eq=False)
class EncodedSet:
    """One image set as seen by the networks, rows in the order of the set's listing.

    `features` (N, D) float32 are the image-text encoder's, not normalised; `logits` (N, C)
    float32 the classifier's. `labels` (N,) index the suite's class names, -1 where an image has
    none. What only some methods need is computed from `images` at its first use; without them that
    is an `InputError`.
    """

    name: str
    group: str
    features: NDArray[np.float32]
    logits: NDArray[np.float32]
    labels: NDArray[np.int64] | None = None
    images: SetImages | None = None

    def __len__(self) -> int:
        return len(self.features)

    @cached_property
    def penultimate(self) -> NDArray[np.float32]:
        """The input of the classifier's last linear layer, (N, P) float32."""
        found = self.require_images()
        parts = [_penultimate(batch, found.classifier) for batch in found.pixels()]
        return np.concatenate(parts)

    @property
    def head(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The classifier's last linear layer: weight (C, P) and bias (C,)."""
        return self.require_images().classifier.head

    def patches(self) -> Iterator[NDArray[np.float32]]:
        """Yield the encoder's local features (B, L, D), not normalised, in batches.

        An encoder without local features is an `InputError`.
        """
        from synood.models.patches import encode_image_patches

        found = self.require_images()
        for images in found.batches():
            yield encode_image_patches(found.encoder, images)

    def require_images(self) -> SetImages:
        """Return the images; a set that was made without them is an `InputError`."""
        if self.images is None:
            raise InputError(
                f"set {self.name!r}: made without its images, which this method needs besides "
                "features and logits"
            )
        return self.images

    def take(self, rows: NDArray[np.int64] | Sequence[int]) -> EncodedSet:
        """Return the set of some rows, in the order given, with what was computed of them."""
        rows = np.asarray(rows, dtype=np.int64)
        images = self.images and replace(
            self.images, records=tuple(self.images.records[row] for row in rows)
        )
        labels = None if self.labels is None else self.labels[rows]
        taken = replace(
            self,
            features=self.features[rows],
            logits=self.logits[rows],
            labels=labels,
            images=images,
        )
        known = self._known_penultimate
        return taken if known is None else taken.with_penultimate(known[rows])

    def with_penultimate(self, penultimate: NDArray[np.float32]) -> EncodedSet:
        """Return the set with its penultimate features (N, P), computed elsewhere."""
        known = replace(self)
        known.__dict__["penultimate"] = penultimate  # where cached_property looks
        return known

    @property
    def _known_penultimate(self) -> NDArray[np.float32] | None:
        return self.__dict__.get("penultimate")


def join(name: str, sets: Sequence[EncodedSet]) -> EncodedSet:
    """Concatenate sets, as the stream that a test-time method sees."""
    first = sets[0]
    images = None
    if all(item.images is not None for item in sets):
        records = tuple(record for item in sets for record in item.require_images().records)
        images = replace(first.require_images(), records=records)
    joined = EncodedSet(
        name,
        first.group if len({item.group for item in sets}) == 1 else "mixed",
        np.concatenate([item.features for item in sets]),
        np.concatenate([item.logits for item in sets]),
        images=images,
    )
    known = [item._known_penultimate for item in sets]
    features = [one for one in known if one is not None]
    if len(features) < len(sets):
        return joined
    return joined.with_penultimate(np.concatenate(features))


def encode_set(
    image_set: ImageSet,
    store: FeatureStore,
    classifier: Classifier,
    encoder: ImageTextEncoder | None = None,
    per_class: int | None = None,
    class_names: Sequence[str] | None = None,
) -> EncodedSet:
    """Encode one set; `store` caches the outputs of the networks.

    With the `encoder` the set keeps its images, so that more can be computed later. `per_class`
    limits the number of images of each class, evenly spaced. Labels index `class_names`: the
    suite's, where a set may lack a class, by default the set's own.
    """
    index = image_set.index()
    if per_class is not None:
        index = replace(index, records=_thinned(index.records, per_class))
    paths = [record.path for record in index.records]
    files = [ImageFile(path, sha256_file(path)) for path in paths]
    features = store.images(files)
    plain = reading_of(encoder).plain  # and whole: networks differ in the size that they need
    by_classifier = store.for_encoder(
        fingerprint("views", classifier.fingerprint, *(["plain"] if plain else [])),
        lambda: _ClassifierOutputs(classifier, plain),
    )
    outputs = by_classifier.images(files)
    width = len(classifier.class_names)
    encoded = EncodedSet(
        image_set.name,
        image_set.group,
        features,
        np.ascontiguousarray(outputs[:, :width]),
        labels=labels_of(index, class_names) if image_set.group == "id" else None,
        images=None if encoder is None else SetImages(index.records, classifier, encoder),
    )
    if outputs.shape[1] == width:
        return encoded
    return encoded.with_penultimate(np.ascontiguousarray(outputs[:, width:]))


class _ClassifierOutputs:
    """A classifier as an image encoder: logits, and penultimate features if it has them.

    The two are concatenated. `plain` is whether files are read as published benchmarks do.
    """

    def __init__(self, classifier: Classifier, plain: bool) -> None:
        self._classifier, self.reading = classifier, Reading(plain)

    def encode_images(
        self, images: Sequence[Image.Image], batch_size: int = BATCH_SIZE
    ) -> NDArray[np.float32]:
        """Return (N, C + P), or (N, C)."""
        import torch

        parts = []
        with torch.no_grad():
            for pixels in pixel_batches(images):
                parts.append(self._outputs(pixels).float().cpu().numpy())
        return np.concatenate(parts)

    def _outputs(self, pixels: torch.Tensor) -> torch.Tensor:
        import torch

        try:
            weight, bias = self._classifier.head
            features = self._classifier.penultimate(pixels)
        except InputError:
            return self._classifier.logits(pixels)
        logits = features @ torch.from_numpy(weight).to(features).T
        return torch.cat([logits + torch.from_numpy(bias).to(features), features], dim=1)


def _thinned(records: Sequence[ImageRecord], per_class: int) -> tuple[ImageRecord, ...]:
    """Return up to `per_class` records of each label, evenly spaced, in their order."""
    members: dict[str | None, list[int]] = {}
    for row, record in enumerate(records):
        members.setdefault(record.label, []).append(row)
    kept = [
        rows[i * len(rows) // per_class]
        for rows in members.values()
        for i in range(min(per_class, len(rows)))
        if len(rows) > per_class
    ]
    kept += [row for rows in members.values() if len(rows) <= per_class for row in rows]
    return tuple(records[row] for row in sorted(kept))


def labels_of(index: ImageIndex, class_names: Sequence[str] | None = None) -> NDArray[np.int64]:
    """Return each record's class number in `class_names` (N,), -1 for a record without a label.

    `class_names` are the index's own by default.
    """
    place = {name: number for number, name in enumerate(class_names or index.class_names)}
    return np.array([place.get(record.label or "", -1) for record in index.records], np.int64)


def image_logits(images: Sequence[Image.Image], classifier: Guide) -> NDArray[np.float32]:
    """Return the logits (N, C) of a classifier or another guide for RGB images of any sizes."""
    import torch

    logits = []
    with torch.no_grad():
        for pixels in pixel_batches(images):
            logits.append(classifier.logits(pixels).float().cpu().numpy())
    return np.concatenate(logits)


def pixel_batches(images: Sequence[Image.Image]) -> Iterator[torch.Tensor]:
    """Yield RGB images as (B, 3, H, W) in [0, 1], consecutive ones of one size together."""
    import torch

    for _, same_size in groupby(images, key=lambda image: image.size):
        arrays = np.stack([np.asarray(image, dtype=np.float32) / 255 for image in same_size])
        yield torch.from_numpy(arrays).permute(0, 3, 1, 2)


def _penultimate(pixels: torch.Tensor, classifier: Classifier) -> NDArray[np.float32]:
    import torch

    with torch.no_grad():
        features: NDArray[np.float32] = classifier.penultimate(pixels).float().cpu().numpy()
    return features
