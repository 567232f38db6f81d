"""Features on disk, keyed by what was encoded and by whom, so that nothing is encoded twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar, cast

import numpy as np

from synood.errors import CheckpointError, InputError
from synood.features.cache import open_cache, space_of
from synood.features.unreadable import Unreadable
from synood.files import fingerprint, write_bytes
from synood.images.views import VERSION
from synood.labels.prompts import averaged

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from synood.labels.prompts import Prompts
    from synood.models.clip import ImageTextEncoder
    from synood.pipeline.executors.tasks import ImageFile
    from synood.progress import StageProgress

    Encoded = Iterator[tuple[int, Sequence[NDArray[np.float32] | Unreadable]]]

Entry = TypeVar("Entry", str, tuple[str, ...])  # a picture's hash (and view); a name's prompts

# A block is one file: what a kill can lose, and what one changed entry makes to be encoded anew.
IMAGE_BLOCK = 64
TEXT_BLOCK = 2048


class ImagesEncoder(Protocol):
    """What the store asks of whoever looks at images."""

    def encode_images(
        self, images: Sequence[Image.Image], batch_size: int = 64
    ) -> NDArray[np.float32]:
        """Encode RGB images of any size into (N, D)."""


class FeatureStore:
    """The features of one encoder, in blocks: `features/<key>.safetensors`.

    The key covers the encoder's fingerprint and the contents of the block's entries: a renamed
    image finds its features again, a changed one never finds old ones. `load_encoder` is called
    at the first entry that is not there; `encode` yields the number of each batch of image files
    with a feature for each, in any order, where that is not to be done in this process. Images
    that this machine's cache knows (`synood.features.cache`) are not encoded either.
    """

    def __init__(
        self,
        directory: Path,
        encoder_fingerprint: str,
        load_encoder: Callable[[], ImageTextEncoder],
        encode: Callable[[Sequence[Sequence[ImageFile]]], Encoded] | None = None,
        *,
        device: str = "cpu",
    ) -> None:
        self._directory = directory
        self._encoder_print = encoder_fingerprint
        self._load_encoder = load_encoder
        self._encode = encode or self._encode_here
        self._device = device
        self._cache = open_cache()
        self._space = space_of(encoder_fingerprint, device)

    def beside(self, mark: str, load: Callable[[], ImagesEncoder]) -> FeatureStore:
        """Return a store in the same place for whatever else looks at images, such as classifiers.

        `mark` must change with everything that can change what `load` returns.
        """
        loader = cast("Callable[[], ImageTextEncoder]", load)
        return FeatureStore(self._directory, mark, loader, device=self._device)

    def images(
        self, paths: Sequence[Path], hashes: Sequence[str], advance: StageProgress, view: int = 0
    ) -> NDArray[np.float32]:
        """Return (N, D) image features, not normalised; `hashes` are the files' SHA-256.

        `view` is which view of each image is encoded (`synood.images.views`), 0 the image itself.
        A file that is gone or holds other bytes is an `InputError`.
        """
        features, lost = self.images_there(paths, hashes, advance, view)
        if lost:
            raise InputError(lost[min(lost)].reason)
        return features

    def images_there(
        self, paths: Sequence[Path], hashes: Sequence[str], advance: StageProgress, view: int = 0
    ) -> tuple[NDArray[np.float32], dict[int, Unreadable]]:
        """Return the features of those images that are there still, and the others by row.

        Blocks that are on disk need no image; the rest is encoded `IMAGE_BLOCK` at a time, and
        each block is written once all its images are.
        """
        entries = [f"{content} view {VERSION}.{view}" if view else content for content in hashes]
        blocks = _cut(entries, IMAGE_BLOCK)
        outcomes: dict[str, NDArray[np.float32] | Unreadable] = {}
        unwritten = []
        for block in blocks:
            rows = _read(self._path("image", block))
            if rows is None:
                unwritten.append(block)
            else:
                outcomes.update(zip(block, rows, strict=True))
        if self._cache is not None:
            outcomes.update(self._cache.get(self._space, {*entries} - {*outcomes}))
        files = {
            entry: (path, content, view)
            for entry, path, content in zip(entries, paths, hashes, strict=True)
            if entry not in outcomes
        }
        for block in unwritten:
            if not any(entry in files for entry in block):
                self._write_image_block(block, outcomes)
        lacking = _Lacking(unwritten, files)
        missing = _cut(list(files), IMAGE_BLOCK)
        for number, results in self._encode([[files[h] for h in batch] for batch in missing]):
            outcomes.update(zip(missing[number], results, strict=True))
            self._remember(missing[number], results)
            for block in lacking.completed_by(missing[number]):
                self._write_image_block(block, outcomes)
            advance(len(entries) - lacking.count, len(entries), "")
        advance(len(entries), len(entries), "")
        return _split([outcomes[entry] for entry in entries])

    def _remember(
        self, hashes: Sequence[str], results: Sequence[NDArray[np.float32] | Unreadable]
    ) -> None:
        """Put features into this machine's cache, for other runs."""
        if self._cache is not None:
            pairs = zip(hashes, results, strict=True)
            there = {h: one for h, one in pairs if not isinstance(one, Unreadable)}
            sound = {h: one for h, one in there.items() if np.isfinite(one).all()}
            self._cache.put(self._space, sound)

    def _write_image_block(
        self, block: Sequence[str], outcomes: Mapping[str, NDArray[np.float32] | Unreadable]
    ) -> None:
        features, lost = _split([outcomes[entry] for entry in block])
        left = [entry for row, entry in enumerate(block) if row not in lost]
        if left:
            _written(self._path("image", left), features, f"image {left[0]}")

    def texts(self, prompts: Sequence[Prompts], advance: StageProgress) -> NDArray[np.float32]:
        """Return (N, D) text features of N names, not normalised; see `prompts.averaged`."""
        parts = []
        done = 0
        for block in _cut(prompts, TEXT_BLOCK):
            path = self._path("text", block)
            features = _read(path)
            if features is None:
                encoded = averaged(block, self._load_encoder().encode_texts)
                features = _written(path, encoded, f"text {block[0]!r}")
            parts.append(features)
            done += len(block)
            advance(done, len(prompts), "")
        return np.concatenate(parts)

    def _encode_here(self, batches: Sequence[Sequence[ImageFile]]) -> Encoded:
        from synood.pipeline.executors.tasks import encode_files

        return enumerate(encode_files(self._load_encoder(), files) for files in batches)

    def _path(self, kind: str, block: Sequence[Entry]) -> Path:
        key = fingerprint(self._encoder_print, kind, list(block))
        return self._directory / f"{kind}-{key}.safetensors"


class _Lacking:
    """Which blocks still wait for which of their entries; `count` is of the entries."""

    def __init__(self, blocks: Sequence[Sequence[str]], missing: Container[str]) -> None:
        self._blocks = blocks
        self._left = [{entry for entry in block if entry in missing} for block in blocks]
        self._where: dict[str, list[int]] = {}
        for number, left in enumerate(self._left):
            for entry in left:
                self._where.setdefault(entry, []).append(number)
        self.count = sum(map(len, self._left))

    def completed_by(self, entries: Iterable[str]) -> Iterator[Sequence[str]]:
        """Take note of entries that are there now; yield the blocks that lack nothing more."""
        for entry in entries:
            for number in self._where.pop(entry):
                self._left[number].discard(entry)
                self.count -= 1
                if not self._left[number]:
                    yield self._blocks[number]


def _cut(entries: Sequence[Entry], size: int) -> list[Sequence[Entry]]:
    return [entries[start : start + size] for start in range(0, len(entries), size)]


def _split(
    outcomes: Sequence[NDArray[np.float32] | Unreadable],
) -> tuple[NDArray[np.float32], dict[int, Unreadable]]:
    """Return the features (N, D) that are there, and what is lost by its row."""
    lost = {row: one for row, one in enumerate(outcomes) if isinstance(one, Unreadable)}
    there = [one for one in outcomes if not isinstance(one, Unreadable)]
    return np.stack(there) if there else np.zeros((0, 0), np.float32), lost


def _written(path: Path, features: NDArray[np.float32], what: str) -> NDArray[np.float32]:
    """Write the features of a block that begins with `what`, and return them."""
    from safetensors.numpy import save

    features = np.ascontiguousarray(features, dtype=np.float32)
    if not np.isfinite(features).all():
        raise CheckpointError(
            f"the encoder gives features that are not numbers for {what} or one soon after it; "
            "its weights are damaged or its precision is too low"
        )
    write_bytes(path, save({"features": features}))
    return features


def _read(path: Path) -> NDArray[np.float32] | None:
    """Return a block's features; None where it is absent or damaged, so that it is made anew."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        features: NDArray[np.float32] = load_file(path)["features"]
    except (OSError, SafetensorError, KeyError):
        return None
    return features
