"""From prompts to text features, the only way: encode in blocks, and cache every block.

Encoders pad a batch of texts to its longest, so a feature may round differently in another batch.
Therefore a block of texts is cached as a whole: its features are the same bytes when cached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from synood.errors import CheckpointError, InputError
from synood.features.cache import EncoderCache
from synood.files import fingerprint
from synood.labels.checks import listed
from synood.labels.prompts import averaged, find_prompt_set
from synood.progress import no_progress
from synood.scores import normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from synood.labels.prompts import Prompts
    from synood.models.loaded import Models
    from synood.progress import StageProgress

LONG = 40  # bytes of a name: a text tower takes 64 tokens or more, of a byte or more
BLOCK = 2048  # names whose prompts are encoded together


class TextEncoder(Protocol):
    """What turns texts into features."""

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> NDArray[np.float32]:
        """Encode texts into (N, D)."""


class TextFeatures:
    """The text features of one encoder, which is loaded at the first block that is not cached."""

    def __init__(
        self, encoder_fingerprint: str, load: Callable[[], TextEncoder], device: str = "cpu"
    ) -> None:
        self._load = load
        self._cache = EncoderCache(encoder_fingerprint, device)

    def encode(
        self, prompts: Sequence[Prompts], progress: StageProgress = no_progress
    ) -> NDArray[np.float32]:
        """Return (N, D) features of N names, not normalised; see `labels.prompts.averaged`."""
        blocks = []
        for start in range(0, len(prompts), BLOCK):
            block = prompts[start : start + BLOCK]
            blocks.append(self.encode_block(block))
            progress(start + len(block), len(prompts), "")
        return np.concatenate(blocks)

    def encode_block(self, block: Sequence[Prompts]) -> NDArray[np.float32]:
        """Return the features of at most `BLOCK` names, from the cache where they are there."""
        key = f"texts {fingerprint(list(block))}"
        cached = self._cache.get({key}).get(key)
        if cached is not None and cached.size % len(block) == 0:
            return cached.reshape(len(block), -1)
        features = finite(averaged(block, self._load().encode_texts), f"text {block[0]!r}")
        self._cache.put({key: features.ravel()})
        return features


def loaded_texts(models: Models) -> TextFeatures:
    """Return the text features of a bundle's encoder; one of images alone is an `InputError`."""
    models.check_texts()
    return TextFeatures(models.part_fingerprint("encoder"), lambda: models.encoder, models.device)


def check_long_names(models: Models, class_names: Sequence[str], prompt_set: str) -> None:
    """Raise an `InputError` for class names that the encoder's text tower does not take whole.

    No encoder is loaded where all names are short, so that this can come before any work. One of
    images alone takes any name.
    """
    if not models.bundle.reads_texts:
        return
    long = [name for name in class_names if len(name.encode(errors="replace")) > LONG]
    refused = []
    for name, prompts in zip(long, find_prompt_set(prompt_set).class_prompts(long), strict=True):
        try:
            averaged([prompts], models.encoder.encode_texts)
        except InputError:
            refused.append(f"{name[:LONG]}...")
    if refused:
        raise InputError(
            f"{listed(refused)}: longer than the text tower of the encoder takes; shorten "
            f"{'it' if len(refused) == 1 else 'them'}"
        )


def class_features(
    encode: Callable[[Sequence[Prompts]], NDArray[np.float32]],
    class_names: Sequence[str],
    prompt_set: str,
) -> NDArray[np.float32]:
    """Return the class names' features (C, D) under a prompt set, of unit length."""
    return unit(encode(find_prompt_set(prompt_set).class_prompts(class_names)))


def unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale the rows of text features (N, D) to length one, as a detector holds them."""
    return normalise(features, "text features")


def finite(features: NDArray[np.float32], first: str) -> NDArray[np.float32]:
    """Return features as contiguous float32; others than finite ones are a `CheckpointError`.

    `first` names what the features begin with.
    """
    features = np.ascontiguousarray(features, dtype=np.float32)
    if not np.isfinite(features).all():
        raise CheckpointError(
            f"the encoder's features are not finite for {first} or one soon after it; its weights "
            "are damaged or its precision is too low"
        )
    return features
