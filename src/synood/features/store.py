"""Features in a run directory, keyed by what was encoded and by which encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from synood.errors import InputError
from synood.features.cache import EncoderCache
from synood.features.extractor import Feature, ImageFile, encode_files
from synood.features.texts import BLOCK as TEXT_BLOCK
from synood.features.texts import TextFeatures, finite
from synood.features.unreadable import Unreadable
from synood.files import fingerprint, write_bytes
from synood.images.views import VERSION
from synood.progress import no_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from synood.features.extractor import ImageEncoder
    from synood.labels.prompts import Prompts
    from synood.models.clip import ImageTextEncoder
    from synood.progress import StageProgress

    Batches = Sequence[Sequence[ImageFile]]
    EncodeBatches = Callable[[Batches], Iterator[tuple[int, Sequence[Feature | Unreadable]]]]

Entry = TypeVar("Entry")

IMAGE_BLOCK = 64  # features in one file: the most that a kill loses


class FeatureStore:
    """The features of one encoder, in blocks: `features/<key>.safetensors`.

    The key covers the encoder's fingerprint and the contents of the block's entries: a renamed
    image finds its features again, a changed one never finds old ones. Features that the user's
    cache holds are not computed either. `load_encoder` is called at the first entry that is
    neither here nor there; `encode_batches` yields the number of each batch of image files with
    their features, in any order, where other processes encode.
    """

    def __init__(
        self,
        directory: Path,
        encoder_fingerprint: str,
        load_encoder: Callable[[], ImageTextEncoder],
        encode_batches: EncodeBatches | None = None,
        *,
        device: str = "cpu",
    ) -> None:
        self._directory = directory
        self._encoder_fingerprint = encoder_fingerprint
        self._load_encoder = load_encoder
        self._encode_batches = encode_batches or self._encode_here
        self._device = device
        self._cache = EncoderCache(encoder_fingerprint, device)
        self._texts = TextFeatures(encoder_fingerprint, load_encoder, device)
        self._last: dict[str, Feature | Unreadable] = {}  # a corrected list costs what is new

    def for_encoder(
        self, encoder_fingerprint: str, load: Callable[[], ImageEncoder]
    ) -> FeatureStore:
        """Return a store in the same directory for another encoder of images, or a classifier.

        `encoder_fingerprint` must change with everything that can change what `load` returns.
        """
        loader = cast("Callable[[], ImageTextEncoder]", load)
        return FeatureStore(self._directory, encoder_fingerprint, loader, device=self._device)

    def images(
        self, files: Sequence[ImageFile], progress: StageProgress = no_progress
    ) -> NDArray[np.float32]:
        """Return (N, D) image features, not normalised.

        Raises `InputError` for a file that is gone, cannot be read or holds other bytes.
        """
        rows = self.images_or_unreadable(files, progress)
        for row in rows:
            if isinstance(row, Unreadable):
                raise InputError(row.reason)
        return np.stack(cast("list[Feature]", rows)) if rows else np.zeros((0, 0), np.float32)

    def images_or_unreadable(
        self, files: Sequence[ImageFile], progress: StageProgress = no_progress
    ) -> list[Feature | Unreadable]:
        """Return the feature of each file, not normalised, or why it cannot be read.

        Blocks that are on disk need no image; the rest is encoded `IMAGE_BLOCK` at a time, and
        each block is written once all its images are there.
        """
        entries = [_entry(file) for file in files]
        blocks = _cut(entries, IMAGE_BLOCK)
        known: dict[str, Feature | Unreadable] = {}
        unwritten = []
        for block in blocks:
            rows = _read(self._path("image", block))
            if rows is None:
                unwritten.append(block)
            else:
                known.update(zip(block, rows, strict=True))
        known.update({e: self._last[e] for e in {*entries} & {*self._last} - {*known}})
        known.update(self._cache.get({*entries} - {*known}))
        missing = {e: file for e, file in zip(entries, files, strict=True) if e not in known}
        for block in unwritten:
            if not any(entry in missing for entry in block):
                self._write_images(block, known)
        pending = _PendingBlocks(unwritten, missing)
        batches = _cut(list(missing), IMAGE_BLOCK)
        for number, results in self._encode_batches([[missing[e] for e in b] for b in batches]):
            encoded = dict(zip(batches[number], results, strict=True))
            known.update(encoded)
            self._cache.put(encoded)
            for block in pending.completed_by(batches[number]):
                self._write_images(block, known)
            progress(len(entries) - pending.count, len(entries), "")
        progress(len(entries), len(entries), "")
        self._last = known
        return [known[entry] for entry in entries]

    def texts(
        self, prompts: Sequence[Prompts], progress: StageProgress = no_progress
    ) -> NDArray[np.float32]:
        """Return (N, D) text features of N names, not normalised; see `prompts.averaged`."""
        parts = []
        done = 0
        for block in _cut(prompts, TEXT_BLOCK):
            path = self._path("text", block)
            features = _read(path)
            if features is None:
                features = self._texts.encode_block(block)
                _write(path, features)
            parts.append(features)
            done += len(block)
            progress(done, len(prompts), "")
        return np.concatenate(parts)

    def _write_images(
        self, block: Sequence[str], known: Mapping[str, Feature | Unreadable]
    ) -> None:
        rows = [row for entry in block if not isinstance(row := known[entry], Unreadable)]
        if len(rows) == len(block):  # a block without an unreadable image has other entries
            _write(self._path("image", block), finite(np.stack(rows), f"image {block[0]}"))

    def _encode_here(
        self, batches: Batches
    ) -> Iterator[tuple[int, Sequence[Feature | Unreadable]]]:
        load, device = self._load_encoder, self._device
        return enumerate(encode_files(load(), files, device) for files in batches)

    def _path(self, kind: str, block: Sequence[object]) -> Path:
        key = fingerprint(self._encoder_fingerprint, kind, list(block))
        return self._directory / f"{kind}-{key}.safetensors"


class _PendingBlocks:
    """Which blocks wait for which entries; `count` is the number of entries that are missing."""

    def __init__(self, blocks: Sequence[Sequence[str]], missing: Container[str]) -> None:
        self._blocks = blocks
        self._missing = [{entry for entry in block if entry in missing} for block in blocks]
        self._blocks_of: dict[str, list[int]] = {}
        for number, entries in enumerate(self._missing):
            for entry in entries:
                self._blocks_of.setdefault(entry, []).append(number)
        self.count = sum(map(len, self._missing))

    def completed_by(self, entries: Iterable[str]) -> Iterator[Sequence[str]]:
        """Note entries that are there now; yield the blocks that miss nothing more."""
        for entry in entries:
            for number in self._blocks_of.pop(entry):
                self._missing[number].discard(entry)
                self.count -= 1
                if not self._missing[number]:
                    yield self._blocks[number]


def _entry(file: ImageFile) -> str:
    return f"{file.sha256} view {VERSION}.{file.view}" if file.view else file.sha256


def _cut(entries: Sequence[Entry], size: int) -> list[Sequence[Entry]]:
    return [entries[start : start + size] for start in range(0, len(entries), size)]


def _write(path: Path, features: NDArray[np.float32]) -> None:
    from safetensors.numpy import save

    write_bytes(path, save({"features": features}))


def _read(path: Path) -> NDArray[np.float32] | None:
    """Return a block's features, or None where the file is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        features: NDArray[np.float32] = load_file(path)["features"]
    except (OSError, SafetensorError, KeyError):
        return None
    return features
