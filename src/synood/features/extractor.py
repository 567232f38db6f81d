"""From an image to its features, the only way: decode once, pad the batch, encode, cache.

A feature depends on the image and the encoder alone, bit for bit on one machine: every batch has
`BATCH` images, whatever was asked for, because kernels may round differently at other batch sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from synood.features.cache import EncoderCache
from synood.features.unreadable import Unreadable, map_or_unreadable, map_padded
from synood.files import sha256_bytes
from synood.images.decoding import MAX_PIXELS, decode, image_bytes, read_image
from synood.images.inputs import as_image, path_of
from synood.images.presets import Preprocess, reads_plainly
from synood.images.views import view_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from PIL import Image

    from synood.images.inputs import ImageInput

Feature: TypeAlias = NDArray[np.float32]
"""The feature (D,) of one image as the encoder gives it: float32, not normalised."""

BATCH = 16  # images that are decoded, held in memory and encoded together


class ImageEncoder(Protocol):
    """What turns images into features: an image-text encoder, or a classifier in its place."""

    def encode_images(
        self, images: Sequence[Image.Image], batch_size: int = BATCH
    ) -> NDArray[np.float32]:
        """Encode RGB images of any size into (N, D)."""


@dataclass(frozen=True)
class ImageFile:
    """An image file whose content is known; `view` is a view of it (`images.views`), 0 itself."""

    path: Path
    sha256: str
    view: int = 0


class FeatureExtractor:
    """The features of one encoder, which is loaded at the first image that is not cached.

    `encoder_fingerprint` covers the encoder's weights, vocabulary and preprocessing; `plain` is how
    its preprocessing reads files (`images.decoding.read_image`).
    """

    def __init__(
        self,
        encoder_fingerprint: str,
        load: Callable[[], ImageEncoder],
        device: str = "cpu",
        *,
        plain: bool = False,
    ) -> None:
        self._load, self._plain = load, plain
        self._cache = EncoderCache(encoder_fingerprint, device)

    def extract(self, images: Sequence[ImageInput]) -> list[Feature | Unreadable]:
        """Return the feature of each path, opened image or array, or why it cannot be read."""
        found: list[Feature | Unreadable] = []
        for start in range(0, len(images), BATCH):
            found += self._extract_batch(images[start : start + BATCH])
        return found

    def decoded(
        self, data: bytes, path: Path, max_pixels: int = MAX_PIXELS, seconds: float | None = None
    ) -> Image.Image:
        """Return what `encoded` takes for the bytes of a file, as small as the encoder allows.

        Threads may share it. The arguments are those of `images.decoding.decode`, the refusals too.
        """
        image = decode(data, path, plain=self._plain, max_pixels=max_pixels, seconds=seconds)
        steps = getattr(self._load(), "preprocess", None)
        return steps.shrunk(image) if isinstance(steps, Preprocess) else image

    def encoded(self, images: Sequence[Image.Image]) -> list[Feature]:
        """Return the features of at most `BATCH` images of `decoded`: those that `extract` gives.

        The cache is neither read nor filled.
        """
        return [row for row in encode_images(self._load, images) if not isinstance(row, Unreadable)]

    def _extract_batch(self, images: Sequence[ImageInput]) -> list[Feature | Unreadable]:
        sources = map_or_unreadable(lambda item: _Source.of(item, self._plain), images)
        readable = [source for source in sources if isinstance(source, _Source)]
        known: dict[str, Feature | Unreadable] = {}
        known.update(self._cache.get({source.key for source in readable if source.path}))
        new = {source.key: source for source in readable if source.key not in known}
        decoded = map_or_unreadable(_Source.image, list(new.values()))
        encoded = dict(zip(new, encode_images(self._load, decoded), strict=True))
        self._cache.put({key: encoded[key] for key, source in new.items() if source.path})
        known.update(encoded)
        return [
            source if isinstance(source, Unreadable) else source.named(known[source.key], new)
            for source in sources
        ]


@dataclass(frozen=True)
class _Source:
    """One image to be encoded: the bytes of a file, or an image that was opened elsewhere."""

    key: str  # the SHA-256 of the file, or a name of its own for an opened image
    path: Path | None
    content: bytes | Image.Image
    plain: bool

    @classmethod
    def of(cls, item: ImageInput, plain: bool) -> _Source:
        path = path_of(item)
        if path is None:
            image = as_image(item, plain=plain)
            return cls(f"opened {id(image)}", None, image, plain)
        data = image_bytes(path)
        return cls(sha256_bytes(data), path, data, plain)

    def image(self) -> Image.Image:
        if isinstance(self.content, bytes):
            assert self.path is not None
            return decode(self.content, self.path, plain=self.plain)
        return self.content

    def named(
        self, feature: Feature | Unreadable, decoded: dict[str, _Source]
    ) -> Feature | Unreadable:
        """Return the feature, or why this very file cannot be read where a copy of it was tried."""
        tried = decoded.get(self.key)
        if isinstance(feature, Unreadable) and tried is not None and tried.path != self.path:
            again = map_or_unreadable(_Source.image, [self])[0]
            return again if isinstance(again, Unreadable) else feature
        return feature


def encode_files(encoder: ImageEncoder, files: Sequence[ImageFile]) -> list[Feature | Unreadable]:
    """Read and encode image files, `BATCH` at a time.

    Several views of one file that follow each other are made from one decoding.
    """
    features: list[Feature | Unreadable] = []
    read = _LastRead(reads_plainly(encoder))
    for start in range(0, len(files), BATCH):
        views = map_or_unreadable(read.view, files[start : start + BATCH])
        features += encode_images(lambda: encoder, views)
    return features


def encode_images(
    load: Callable[[], ImageEncoder], images: Sequence[Image.Image | Unreadable]
) -> list[Feature | Unreadable]:
    """Encode a batch of at most `BATCH` decoded images, padded to `BATCH`."""

    def encode(batch: list[Image.Image]) -> list[Feature]:
        return [*load().encode_images(batch)]

    return map_padded(images, encode, BATCH)


class _LastRead:
    """Keeps the last decoded file for its further views."""

    def __init__(self, plain: bool) -> None:
        self._plain = plain
        self._source: tuple[Path, str] | None = None
        self._image: Image.Image | None = None

    def view(self, file: ImageFile) -> Image.Image:
        source = file.path, file.sha256
        if self._image is None or source != self._source:
            self._image = read_image(*source, plain=self._plain)
            self._source = source
        return view_of(self._image, file.sha256, file.view)
