"""From an image to its features, the only way: decode once, shrink, encode, cache.

A feature depends on the image and the encoder alone, bit for bit on one machine (`encoding`).
Threads read and decode ahead while the network computes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from synood.features.ahead import ahead, readers, threads
from synood.features.cache import EncoderCache
from synood.features.encoding import Feature, ImageEncoder, encoded, taken_together
from synood.features.unreadable import Unreadable, map_or_unreadable, or_unreadable
from synood.files import sha256_bytes
from synood.images.decoding import MAX_PIXELS, decode, image_bytes, read_image
from synood.images.inputs import as_image, path_of
from synood.images.presets import Preprocess, reading_of
from synood.images.views import view_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future, ThreadPoolExecutor
    from pathlib import Path

    from PIL import Image

    from synood.images.inputs import ImageInput
    from synood.images.reading import Reading

__all__ = ["BATCH", "Feature", "FeatureExtractor", "ImageEncoder", "ImageFile"]

BATCH = 16  # images that are looked up in the cache together; two such batches are in memory
_LOADING = threading.RLock()


@dataclass(frozen=True)
class ImageFile:
    """An image file whose content is known; `view` is a view of it (`images.views`), 0 itself."""

    path: Path
    sha256: str
    view: int = 0


class FeatureExtractor:
    """The features of one encoder, which is loaded at the first image that is not cached.

    `encoder_fingerprint` covers the encoder's weights, vocabulary and preprocessing, which says how
    files are read (`images.presets.reading_of`).
    """

    def __init__(
        self, encoder_fingerprint: str, load: Callable[[], ImageEncoder], device: str = "cpu"
    ) -> None:
        self._load, self._device = load, device
        self._cache = EncoderCache(encoder_fingerprint, device)

    def extract(self, images: Sequence[ImageInput]) -> list[Feature | Unreadable]:
        """Return the feature of each path, opened image or array, or why it cannot be read."""
        parts = (images[start : start + BATCH] for start in range(0, len(images), BATCH))
        return [feature for _, features in self.stream(parts) for feature in features]

    def stream(
        self, batches: Iterable[Sequence[ImageInput]]
    ) -> Iterator[tuple[Sequence[ImageInput], list[Feature | Unreadable]]]:
        """Yield each batch with what `extract` returns; the next one is read meanwhile.

        A batch is best of `BATCH` images.
        """
        with threads(readers()) as pool, threads(1) as first:
            begin = partial(self._begun, pool)
            for begun in ahead(begin, batches, first, 1):
                yield begun.images, self._finished(begun)

    def decoded(
        self, data: bytes, path: Path, max_pixels: int = MAX_PIXELS, seconds: float | None = None
    ) -> Image.Image:
        """Return what `encoded` takes for the bytes of a file, as small as the encoder allows.

        Threads may share it. The arguments are those of `images.decoding.decode`, the refusals too.
        """
        encoder = self._loaded()
        reading = reading_of(encoder)
        image = decode(data, path, reading=reading, max_pixels=max_pixels, seconds=seconds)
        return shrunk(image, encoder)

    def encoded(self, images: Sequence[Image.Image]) -> list[Feature]:
        """Return the features of images of `decoded`: those that `extract` gives.

        The cache is neither read nor filled.
        """
        features = encoded(self._loaded, images, self._device)
        return [row for row in features if not isinstance(row, Unreadable)]

    @property
    def together(self) -> int:
        """How many images the encoder takes at once; fewer cost as much."""
        return taken_together(self._loaded(), self._device)

    def _begun(self, pool: ThreadPoolExecutor, images: Sequence[ImageInput]) -> _Begun:
        """Read a batch and look it up; decode in `pool` what is not cached."""
        files = {n: path for n, item in enumerate(images) if (path := path_of(item))}
        found = pool.map(partial(or_unreadable, _Source.of_file), files.values())
        read = dict(zip(files, found, strict=True))
        sources = [read[n] if n in read else self._opened(item) for n, item in enumerate(images)]
        readable = [source for source in sources if isinstance(source, _Source)]
        known: dict[str, Feature | Unreadable] = {}
        known.update(self._cache.get({source.key for source in readable if source.path}))
        new = {source.key: source for source in readable if source.key not in known}
        images_of = {key: pool.submit(self._small, source) for key, source in new.items()}
        marks = [s if isinstance(s, Unreadable) else (s.key, s.path) for s in sources]
        tried = {key: source.path for key, source in new.items()}
        return _Begun(images, marks, known, tried, images_of)

    def _finished(self, begun: _Begun) -> list[Feature | Unreadable]:
        """Encode what is not cached, and keep it."""
        decoded = (future.result() for future in begun.decoded.values())
        features = encoded(self._loaded, decoded, self._device)
        new = dict(zip(begun.decoded, features, strict=True))
        self._cache.put({key: new[key] for key, path in begun.tried.items() if path})
        known = {**begun.known, **new}
        return [
            mark
            if isinstance(mark, Unreadable)
            else self._named(known[mark[0]], mark[1], begun.tried.get(mark[0]))
            for mark in begun.marks
        ]

    def _small(self, source: _Source) -> Image.Image | Unreadable:
        """Decode an image and leave of it what the encoder needs."""
        encoder = self._loaded()
        image = or_unreadable(lambda one: one.image(reading_of(encoder)), source)
        return image if isinstance(image, Unreadable) else shrunk(image, encoder)

    def _opened(self, item: ImageInput) -> _Source | Unreadable:
        reading = reading_of(self._loaded())  # an encoder that is not there is no image's fault
        return or_unreadable(partial(_Source.of_opened, reading=reading), item)

    def _named(
        self, feature: Feature | Unreadable, path: Path | None, tried: Path | None
    ) -> Feature | Unreadable:
        """Return the feature, or why this very file cannot be read where a copy of it was tried."""
        if isinstance(feature, Unreadable) and path is not None and tried not in (None, path):
            again = or_unreadable(partial(read_image, reading=reading_of(self._loaded())), path)
            return again if isinstance(again, Unreadable) else feature
        return feature

    def _loaded(self) -> ImageEncoder:
        with _LOADING:
            return self._load()


@dataclass(frozen=True)
class _Begun:
    """A batch that is being decoded; `marks` are the key and the path of each of its images."""

    images: Sequence[ImageInput]
    marks: list[tuple[str, Path | None] | Unreadable]
    known: dict[str, Feature | Unreadable]
    tried: dict[str, Path | None]  # of the keys that are not known, the file that is decoded
    decoded: dict[str, Future[Image.Image | Unreadable]]


@dataclass(frozen=True)
class _Source:
    """One image to be encoded: the bytes of a file, or an image that was opened elsewhere."""

    key: str  # the SHA-256 of the file, or a name of its own for an opened image
    path: Path | None
    content: bytes | Image.Image

    @classmethod
    def of_file(cls, path: Path) -> _Source:
        data = image_bytes(path)
        return cls(sha256_bytes(data), path, data)

    @classmethod
    def of_opened(cls, item: ImageInput, reading: Reading) -> _Source:
        image = as_image(item, reading=reading)
        return cls(f"opened {id(image)}", None, image)

    def image(self, reading: Reading) -> Image.Image:
        if isinstance(self.content, bytes):
            assert self.path is not None
            return decode(self.content, self.path, reading=reading)
        return self.content


def shrunk(image: Image.Image, encoder: ImageEncoder) -> Image.Image:
    """Return an image as small as the encoder's preprocessing allows, with the same feature."""
    steps = getattr(encoder, "preprocess", None)
    return steps.shrunk(image) if isinstance(steps, Preprocess) else image


def encode_files(
    encoder: ImageEncoder, files: Sequence[ImageFile], device: str = "cpu"
) -> list[Feature | Unreadable]:
    """Read and encode image files; `device` is the encoder's.

    Several views of one file that follow each other are made from one decoding.
    """
    groups = [[*group] for _, group in groupby(files, lambda file: (file.path, file.sha256))]
    count = readers()
    with threads(count) as pool:
        read = ahead(partial(_views, encoder), groups, pool, 2 * count)
        images = (image for views in read for image in views)
        return [*encoded(lambda: encoder, images, device)]


def _views(encoder: ImageEncoder, files: Sequence[ImageFile]) -> list[Image.Image | Unreadable]:
    """Read one file; return the views of it that the encoder is to see."""
    reading = reading_of(encoder)
    whole = or_unreadable(lambda one: read_image(one.path, one.sha256, reading=reading), files[0])
    if isinstance(whole, Unreadable):
        return [whole] * len(files)

    def seen(file: ImageFile) -> Image.Image:
        return shrunk(view_of(whole, file.sha256, file.view), encoder)

    return map_or_unreadable(seen, files)
