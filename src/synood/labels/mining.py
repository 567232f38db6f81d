"""Negative labels: the candidate words least similar to the class names (NegLabel, §3).

Pure functions on text features. The closeness of a word is a high quantile of its cosines with all
classes, so it may resemble a few of them; the least close words are kept.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from synood.errors import InputError
from synood.labels.forms import NameForms
from synood.scores import normalise

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from synood.labels.wordnet import Word
    from synood.settings import MiningSettings

CELLS = 2**21  # similarities in memory at once, 8 MB


def neglabel_pool(
    candidate_features: ArrayLike,
    class_features: ArrayLike,
    share: float = 0.15,
    quantile: float = 0.95,
    max_similarity: float | None = None,
) -> NDArray[np.int64]:
    """Choose the candidates with the least `class_closeness`: ascending indices, int64.

    Args:
        candidate_features: (W, D) text features of any length.
        class_features: (C, D) text features of any length.
        share: fraction of the candidates to keep, in (0, 1], rounded down; 0.15 in NegLabel. Of
            equally close candidates the earlier ones are kept.
        quantile: in [0, 1]; 0.95 in NegLabel (1 - eta).
        max_similarity: a candidate with a larger cosine to any class is never kept; `share` is
            still a fraction of all candidates; 0.95 in CSP.
    """
    closeness = class_closeness(candidate_features, class_features, quantile, max_similarity)
    return _least(closeness, share)


def mine_negatives(
    words: Sequence[Word],
    word_features: ArrayLike,
    class_features: ArrayLike,
    share: float = 0.15,
    quantile: float = 0.95,
    exclude: Iterable[str] | None = None,
    max_similarity: float | None = None,
) -> NDArray[np.int64]:
    """Choose negative labels as NegLabel does (multi_modal.py:140-157): ascending indices, int64.

    Nouns and adjectives are ranked separately, since their prompt templates differ and so does
    their closeness to the class prompts; the same fraction of each is kept.

    Args:
        words: W candidates.
        word_features: (W, D) features of their prompts.
        class_features: (C, D) features of the class prompts.
        share: as for `neglabel_pool`; of the candidates left after `exclude`.
        quantile: as for `neglabel_pool`.
        exclude: names of which no candidate may be a form (`synood.labels.forms`).
            NegLabel excludes nothing, and 32 ImageNet classes are among its negative labels.
        max_similarity: as for `neglabel_pool`.

    Raises:
        InputError: words and features differ in number, or a setting is out of range.
    """
    closeness = class_closeness(word_features, class_features, quantile, max_similarity)
    if len(words) != len(closeness):
        raise InputError(f"word_features: {len(closeness)} rows for {len(words)} words")
    taken = NameForms(exclude or ())
    free = np.array([not taken.holds(word) for word in words], dtype=bool)
    nouns = np.array([word.pos == "noun" for word in words], dtype=bool)
    pools = [np.flatnonzero(free & nouns), np.flatnonzero(free & ~nouns)]
    return np.sort(np.concatenate([pool[_least(closeness[pool], share)] for pool in pools]))


def mining_settings(
    mining: MiningSettings,
    prompt_set: str | None,
    share: float | None,
    quantile: float | None,
) -> MiningSettings:
    """Return `mining`; values that are given override it."""
    return replace(
        mining,
        prompt_set=mining.prompt_set if prompt_set is None else prompt_set,
        share=mining.share if share is None else share,
        quantile=mining.quantile if quantile is None else quantile,
    )


def class_closeness(
    candidate_features: ArrayLike,
    class_features: ArrayLike,
    quantile: float = 0.95,
    max_similarity: float | None = None,
) -> NDArray[np.float32]:
    """Quantile over the classes of each candidate's cosines: (W,), in [-1, 1].

    Interpolated linearly like `torch.quantile`, but found by partition instead of sorting.
    Infinite for a candidate whose cosine to some class is above `max_similarity`.
    """
    if not 0.0 <= quantile <= 1.0:
        raise InputError(f"quantile: {quantile} is not in [0, 1]")
    candidates = normalise(candidate_features, "candidate_features")
    classes = normalise(class_features, "class_features")
    if len(classes) == 0:
        raise InputError("class_features: no rows; at least one class is needed")
    if candidates.shape[1] != classes.shape[1]:
        raise InputError(
            f"candidate_features: {candidates.shape[1]} columns, class_features"
            f" {classes.shape[1]}; both must come from one encoder"
        )
    closeness = np.empty(len(candidates), np.float32)
    rows = max(1, CELLS // len(classes))
    for start in range(0, len(candidates), rows):
        similarity = candidates[start : start + rows] @ classes.T
        block = closeness[start : start + rows]
        block[:] = _row_quantile(similarity, quantile)
        if max_similarity is not None:
            block[similarity.max(axis=1) > max_similarity] = np.inf
    return closeness


def _row_quantile(values: NDArray[np.float32], quantile: float) -> NDArray[np.float32]:
    """Interpolated quantile of each row; reorders the rows."""
    position = quantile * (values.shape[1] - 1)
    below = math.floor(position)
    values.partition(below, axis=1)
    low = values[:, below]
    if below == position:
        return low
    high = values[:, below + 1 :].min(axis=1)
    between: NDArray[np.float32] = low + np.float32(position - below) * (high - low)
    return between


def _least(closeness: NDArray[np.float32], share: float) -> NDArray[np.int64]:
    """Ascending indices of the given fraction of least finite values; of equals the first."""
    if not 0.0 < share <= 1.0:
        raise InputError(f"share: {share} is not in (0, 1]")
    count = math.floor(share * len(closeness) + 1e-9)  # 0.29 of 100 is 29, not 28.999...
    count = min(count, int(np.isfinite(closeness).sum()))
    return np.sort(np.argsort(closeness, kind="stable")[:count])
