"""Features on disk, keyed by what was encoded and by whom, so that nothing is encoded twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood.errors import CheckpointError
from synood.files import fingerprint, write_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from synood.models.clip import ImageTextEncoder
    from synood.pipeline._workspace import Advance

# A block is one file: what a kill can lose, and what one changed entry makes to be encoded anew.
IMAGE_BLOCK = 64
TEXT_BLOCK = 2048
READ_AT_ONCE = 16  # decoded images held in memory


class FeatureStore:
    """The features of one encoder, in blocks: `features/<key>.safetensors`.

    The key covers the encoder's fingerprint and the contents of the block's entries: a renamed
    image finds its features again, a changed one never finds old ones. `load_encoder` is called
    at the first block that is not there.
    """

    def __init__(
        self, directory: Path, encoder_print: str, load_encoder: Callable[[], ImageTextEncoder]
    ) -> None:
        self._directory = directory
        self._encoder_print = encoder_print
        self._load_encoder = load_encoder

    def images(
        self, paths: Sequence[Path], hashes: Sequence[str], advance: Advance
    ) -> NDArray[np.float32]:
        """Return (N, D) image features, not normalised; `hashes` are the files' SHA-256."""
        by_hash = dict(zip(hashes, paths, strict=True))

        def encode(block: Sequence[str]) -> NDArray[np.float32]:
            return self._encode_images([by_hash[entry] for entry in block])

        return self._blocks("image", hashes, IMAGE_BLOCK, encode, advance)

    def texts(self, prompts: Sequence[str], advance: Advance) -> NDArray[np.float32]:
        """Return (N, D) text features, not normalised."""

        def encode(block: Sequence[str]) -> NDArray[np.float32]:
            return self._load_encoder().encode_texts(block)

        return self._blocks("text", prompts, TEXT_BLOCK, encode, advance)

    def _encode_images(self, paths: Sequence[Path]) -> NDArray[np.float32]:
        from synood.images.reading import read_image

        encoder = self._load_encoder()
        parts = [
            encoder.encode_images(
                [read_image(path) for path in paths[start : start + READ_AT_ONCE]]
            )
            for start in range(0, len(paths), READ_AT_ONCE)
        ]
        return np.concatenate(parts)

    def _blocks(
        self,
        kind: str,
        entries: Sequence[str],
        size: int,
        encode: Callable[[Sequence[str]], NDArray[np.float32]],
        advance: Advance,
    ) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(entries), size):
            block = entries[start : start + size]
            parts.append(self._block(kind, block, encode))
            advance(start + len(block), len(entries), "")
        return np.concatenate(parts)

    def _block(
        self,
        kind: str,
        block: Sequence[str],
        encode: Callable[[Sequence[str]], NDArray[np.float32]],
    ) -> NDArray[np.float32]:
        from safetensors.numpy import save

        key = fingerprint(self._encoder_print, kind, list(block))
        path = self._directory / f"{kind}-{key}.safetensors"
        features = _read(path)
        if features is None:
            features = np.ascontiguousarray(encode(block), dtype=np.float32)
            if not np.isfinite(features).all():
                raise CheckpointError(
                    f"the encoder gives features that are not numbers for {kind} {block[0]!r} or "
                    "one soon after it; its weights are damaged or its precision is too low"
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
