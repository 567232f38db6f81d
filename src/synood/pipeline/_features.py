"""Features on disk, keyed by what was encoded and by whom, so that nothing is encoded twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from synood.errors import CheckpointError
from synood.files import fingerprint, write_bytes
from synood.labels.prompts import averaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from synood.labels.prompts import Prompts
    from synood.models.clip import ImageTextEncoder
    from synood.pipeline._workspace import Advance

Entry = TypeVar("Entry", str, tuple[str, ...])  # a picture's hash; the prompts of one name

# A block is one file: what a kill can lose, and what one changed entry makes to be encoded anew.
IMAGE_BLOCK = 64
TEXT_BLOCK = 2048


class FeatureStore:
    """The features of one encoder, in blocks: `features/<key>.safetensors`.

    The key covers the encoder's fingerprint and the contents of the block's entries: a renamed
    image finds its features again, a changed one never finds old ones. `load_encoder` is called
    at the first block that is not there; `encode` yields the features of each block of images,
    in order, where that is not to be done with this encoder in this process.
    """

    def __init__(
        self,
        directory: Path,
        encoder_print: str,
        load_encoder: Callable[[], ImageTextEncoder],
        encode: Callable[[Sequence[Sequence[Path]]], Iterator[NDArray[np.float32]]] | None = None,
    ) -> None:
        self._directory = directory
        self._encoder_print = encoder_print
        self._load_encoder = load_encoder
        self._encode_images = encode or self._encode_here

    def images(
        self, paths: Sequence[Path], hashes: Sequence[str], advance: Advance
    ) -> NDArray[np.float32]:
        """Return (N, D) image features, not normalised; `hashes` are the files' SHA-256."""
        by_hash = dict(zip(hashes, paths, strict=True))

        def encode(blocks: Sequence[Sequence[str]]) -> Iterator[NDArray[np.float32]]:
            return self._encode_images([[by_hash[entry] for entry in block] for block in blocks])

        return self._blocks("image", hashes, IMAGE_BLOCK, encode, advance)

    def texts(self, prompts: Sequence[Prompts], advance: Advance) -> NDArray[np.float32]:
        """Return (N, D) text features of N names, not normalised; see `prompts.averaged`."""

        def encode(blocks: Sequence[Sequence[Prompts]]) -> Iterator[NDArray[np.float32]]:
            return (averaged(block, self._load_encoder().encode_texts) for block in blocks)

        return self._blocks("text", prompts, TEXT_BLOCK, encode, advance)

    def _encode_here(self, blocks: Sequence[Sequence[Path]]) -> Iterator[NDArray[np.float32]]:
        from synood.pipeline._work import encode_files

        return (encode_files(self._load_encoder(), paths) for paths in blocks)

    def _blocks(
        self,
        kind: str,
        entries: Sequence[Entry],
        size: int,
        encode: Callable[[Sequence[Sequence[Entry]]], Iterator[NDArray[np.float32]]],
        advance: Advance,
    ) -> NDArray[np.float32]:
        blocks = [entries[start : start + size] for start in range(0, len(entries), size)]
        paths = [self._path(kind, block) for block in blocks]
        found = [_read(path) for path in paths]
        missing = [row for row, features in enumerate(found) if features is None]
        done = len(entries) - sum(len(blocks[row]) for row in missing)
        for row, features in zip(missing, encode([blocks[row] for row in missing]), strict=True):
            found[row] = _written(paths[row], features, f"{kind} {blocks[row][0]!r}")
            done += len(blocks[row])
            advance(done, len(entries), "")
        advance(len(entries), len(entries), "")
        return np.concatenate([features for features in found if features is not None])

    def _path(self, kind: str, block: Sequence[Entry]) -> Path:
        key = fingerprint(self._encoder_print, kind, list(block))
        return self._directory / f"{kind}-{key}.safetensors"


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
