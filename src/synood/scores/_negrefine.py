"""NegRefine: NegLabel's share and the share of texts that name a class and a negative together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from synood.arrays import to_numpy
from synood.errors import InputError
from synood.scores._rows import check_temperature, without_nan

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def negrefine(
    log_odds: ArrayLike,
    pair_similarity: ArrayLike,
    negative_similarity: ArrayLike,
    temperature: float = 0.01,
    weight: float = 2.0,
) -> NDArray[np.float32]:
    """Log odds of the mean of NegLabel's share and `weight` times the best pair's (N,).

    The best pair's share is max sigmoid((cos(x, "p and n") - cos(x, n)) / temperature) (Ansari et
    al., ICCV 2025; clip_ood.py:168-208 of their code, whose score is the sum of both shares, up to
    3). The log odds of the mean rank alike and do not saturate.

    Args:
        log_odds: (N,) of NegLabel's share (`neglabel_log_odds`).
        pair_similarity: (N, P, K) cosines with the texts "p and n" of each image's P likeliest
            classes and K likeliest negatives.
        negative_similarity: (N, K) cosines with those negatives.
        temperature: of the sigmoid; CLIP's 0.01 in their code.
        weight: of the pairs' share; 2 in their code.
    """
    check_temperature(temperature)
    pairs = to_numpy(pair_similarity, "pair_similarity").astype(np.float64)
    negatives = to_numpy(negative_similarity, "negative_similarity").astype(np.float64)
    odds = to_numpy(log_odds, "log_odds").astype(np.float64)
    if pairs.ndim != 3 or 0 in pairs.shape[1:]:
        raise InputError(
            f"pair_similarity: shape {pairs.shape} is not (images, classes, negatives)"
        )
    if negatives.shape != (len(pairs), pairs.shape[2]) or odds.shape != (len(pairs),):
        raise InputError(
            f"negative_similarity {negatives.shape} and log_odds {odds.shape} do not fit "
            f"pair_similarity {pairs.shape}"
        )
    if weight <= 0:
        raise InputError(f"weight: {weight} is not positive")
    best = ((pairs - negatives[:, None]) / temperature).max(axis=(1, 2))
    heavier = np.log(weight)
    inside = np.logaddexp(_log_sigmoid(odds), heavier + _log_sigmoid(best))
    outside = np.logaddexp(_log_sigmoid(-odds), heavier + _log_sigmoid(-best))
    return without_nan((inside - outside).astype(np.float32), "similarities")


def _log_sigmoid(values: NDArray[Any]) -> NDArray[Any]:
    logs: NDArray[Any] = -np.logaddexp(0.0, -values)
    return logs
