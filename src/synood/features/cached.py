"""Features of image files, from the cache of this machine as far as it has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood.features.cache import open_cache, space_of
from synood.features.unreadable import Unreadable, map_or_unreadable, map_padded
from synood.files import sha256_bytes
from synood.images.decoding import decode, image_bytes
from synood.pipeline.executors.tasks import READ_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL.Image import Image

    from synood.models.clip import ImageTextEncoder

    Feature = NDArray[np.float32]


class CachedEncoder:
    """An encoder that is loaded at the first image that the cache does not know.

    `encoder_fingerprint` covers its weights, vocabulary and preprocessing. A file's feature has
    the same bytes from the cache and anew, alone and among others: batches are padded.
    """

    def __init__(
        self, encoder_fingerprint: str, load: Callable[[], ImageTextEncoder], device: str
    ) -> None:
        self._load = load
        self._space = space_of(encoder_fingerprint, device)
        self._cache = open_cache()

    def features(self, paths: Sequence[Path]) -> list[Feature | Unreadable]:
        """Return the feature (D,) of each file, not normalised, or `Unreadable`."""
        found: list[Feature | Unreadable] = []
        for start in range(0, len(paths), READ_AT_ONCE):
            found += self._some(paths[start : start + READ_AT_ONCE])
        return found

    def _some(self, paths: Sequence[Path]) -> list[Feature | Unreadable]:
        read = map_or_unreadable(_with_hash, paths)
        hashes = {one[1] for one in read if not isinstance(one, Unreadable)}
        known: dict[str, Feature | Unreadable] = {}
        if self._cache is not None:
            known.update(self._cache.get(self._space, hashes))
        new = {
            one[1]: one for one in read if not isinstance(one, Unreadable) and one[1] not in known
        }
        images = map_or_unreadable(_decoded, list(new.values()))
        encoded = dict(zip(new, map_padded(images, self._encode, READ_AT_ONCE), strict=True))
        known.update(encoded)
        if self._cache is not None:
            there = {h: one for h, one in encoded.items() if not isinstance(one, Unreadable)}
            sound = {h: one for h, one in there.items() if np.isfinite(one).all()}
            self._cache.put(self._space, sound)
        return [
            one if isinstance(one, Unreadable) else _named(known[one[1]], one[0], new.get(one[1]))
            for one in read
        ]

    def _encode(self, images: list[Image]) -> list[Feature]:
        return [*self._load().encode_images(images)]


def _with_hash(path: Path) -> tuple[Path, str, bytes]:
    data = image_bytes(path)
    return path, sha256_bytes(data), data


def _decoded(read: tuple[Path, str, bytes]) -> Image:
    path, _, data = read
    return decode(data, path)


def _named(
    feature: Feature | Unreadable, path: Path, decoded: tuple[Path, str, bytes] | None
) -> Feature | Unreadable:
    """Return a feature, or the sentence on a broken file under the name of this copy of it."""
    if isinstance(feature, Unreadable) and decoded is not None and decoded[0] != path:
        return map_or_unreadable(_decoded, [(path, *decoded[1:])])[0]  # type: ignore[return-value]
    return feature
