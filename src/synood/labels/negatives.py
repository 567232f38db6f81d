"""Negative labels with their features: mined from candidate words, or from a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from synood.errors import InputError
from synood.labels.mining import mine_negatives
from synood.labels.pools import candidates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from synood.labels.prompts import Prompts, PromptSet
    from synood.labels.wordnet import Word
    from synood.settings import MiningSettings

    Encode = Callable[[Sequence[Prompts]], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Negatives:
    """M negative labels: their words, their lines in lists, and features (M, D).

    The features are as the encoder returns them, not of unit length.
    """

    words: tuple[Word, ...]
    prompts: tuple[str, ...]
    features: NDArray[np.float32]


def mined_labels(
    words: Sequence[Word],
    class_names: Sequence[str],
    prompts: PromptSet,
    settings: MiningSettings,
    encode: Encode,
    class_features: NDArray[np.float32],
) -> Negatives:
    """Mine the candidates that `settings.pool` makes from `words` (NegLabel §3).

    `encode` turns the prompts of names into features; `class_features` (C, D) are the classes'.

    Raises:
        InputError: none is kept.
    """
    pool = candidates(words, settings.pool, settings.seed)
    features = encode([prompts.word_prompts(word) for word in pool])
    kept = mine_negatives(
        pool,
        features,
        class_features,
        settings.share,
        settings.quantile,
        exclude=class_names if settings.exclude_class_names else (),
        max_similarity=settings.max_similarity,
    )
    if not len(kept):
        raise InputError(
            "negative labels: mining kept none; give more words or a larger mining.share"
            + ("" if settings.max_similarity is None else ", or raise mining.max_similarity")
        )
    chosen = tuple(pool[row] for row in kept)
    return Negatives(chosen, tuple(prompts.label(word) for word in chosen), features[kept])


def listed_labels(words: Sequence[Word], prompts: PromptSet, encode: Encode) -> Negatives:
    """Encode the words as they are."""
    features = encode([prompts.word_prompts(word) for word in words])
    return Negatives(tuple(words), tuple(prompts.label(word) for word in words), features)
