"""Log odds of the class names against groups of negative labels, exact where a share saturates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from synood.arrays import to_numpy
from synood.errors import InputError
from synood.scores._rows import blocks

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Doubles = NDArray[np.float64]

LEAST, MOST = 1e-30, 1e30  # single precision holds a sum of powers in between to all its digits


def share(log_odds: ArrayLike) -> NDArray[np.float32]:
    """Sigmoid of log odds (N,): the share of equation 2, in [0, 1].

    >>> share([-1e4, 0.0, 2.0])
    array([0.       , 0.5      , 0.8807971], dtype=float32)
    """
    values = to_numpy(log_odds, "log odds")
    if values.dtype.kind not in "iuf":
        raise InputError(f"log odds: dtype {values.dtype} is not real")
    return share_of(values).astype(np.float32)


def share_of(log_odds: NDArray[Any]) -> Doubles:
    """Return the same in double precision."""
    with np.errstate(over="ignore", under="ignore"):  # exp(1e4) is infinite: the share is then 0
        shares: Doubles = 1.0 / (1.0 + np.exp(-log_odds.astype(np.float64)))
    return shares


def log_odds_of(logits: NDArray[Any], n_classes: int, groups: int) -> Doubles:
    """Log odds of logits (N, C + M), classes first, then the negatives group by group: (N,).

    With p the classes' probability in the softmax over the classes and one group, they are
    log(mean p) - log(mean (1 - p)), means over the groups. A negative at -infinity is absent.
    """
    found = np.empty(len(logits))
    with np.errstate(all="ignore"):  # a row that infinity or 0 spoils is computed a second time
        for rows in blocks(len(logits), logits.shape[1]):
            found[rows] = _by_sums(logits[rows], n_classes, groups)
            lost = rows.start + np.flatnonzero(np.isnan(found[rows]))
            if len(lost):
                found[lost] = _by_logarithms(logits[lost].astype(np.float64), n_classes, groups)
    return found


def _by_sums(logits: NDArray[Any], n_classes: int, groups: int) -> Doubles:
    """Return log odds from sums of powers; NaN where a sum is too small or too large for that.

    Powers are taken below the largest class, so their sum over classes lies in [1, C].
    """
    powers = logits - logits[:, :n_classes].max(axis=1, keepdims=True)
    np.exp(powers, out=powers)
    of_classes = powers[:, :n_classes].sum(axis=1, keepdims=True).astype(np.float64)
    negatives = powers[:, n_classes:].reshape(len(powers), groups, -1)
    of_groups = negatives.sum(axis=2).astype(np.float64)
    odds_against = of_groups / of_classes
    probability = 1.0 / (1.0 + odds_against)
    outside = (odds_against * probability).sum(axis=1)
    found: Doubles = np.log(probability.sum(axis=1) / outside)
    kept = (of_groups.min(axis=1) > LEAST) & (of_groups.max(axis=1) < MOST)
    found[~kept] = np.nan
    return found


def _by_logarithms(logits: Doubles, n_classes: int, groups: int) -> Doubles:
    """Return log odds without ever leaving logarithms: slower, exact at any distance."""
    of_classes = _logsumexp(logits[:, :n_classes])
    of_groups = _logsumexp(logits[:, n_classes:].reshape(len(logits), groups, -1))
    against = of_groups - of_classes[:, None]
    inside, outside = -np.logaddexp(0.0, against), -np.logaddexp(0.0, -against)
    found: Doubles = _logsumexp(inside) - _logsumexp(outside)
    return found


def _logsumexp(values: Doubles) -> Doubles:
    """Logarithm of the sum of powers along the last axis."""
    top = values.max(axis=-1, keepdims=True)
    top[top == -np.inf] = 0.0  # nothing but zeros to sum, as where a label is absent
    total: Doubles = top[..., 0] + np.log(np.exp(values - top).sum(axis=-1))
    return total
