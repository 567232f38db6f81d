"""The prompts of names as text features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood.labels.prompts import averaged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from synood.labels.prompts import Prompts
    from synood.models.clip import ImageTextEncoder

AT_ONCE = 2048  # names whose prompts are encoded together


def text_encoder(
    encoder: ImageTextEncoder, advance: Callable[[int, int], None] | None = None
) -> Callable[[Sequence[Prompts]], NDArray[np.float32]]:
    """Return what encodes the prompts of N names, a few thousand at a time: (N, D).

    `advance` hears how many of all names are done.
    """

    def encode(prompts: Sequence[Prompts]) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(prompts), AT_ONCE):
            piece = prompts[start : start + AT_ONCE]
            parts.append(averaged(piece, encoder.encode_texts))
            if advance is not None:
                advance(start + len(piece), len(prompts))
        return np.concatenate(parts)

    return encode
