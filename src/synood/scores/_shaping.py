"""Penultimate features and the last linear layer: what is clipped, pruned or dropped before logits.

Features (N, P) are what a classifier's last linear layer sees, `weight` (C, P) and `bias` (C,) the
layer. The shaping functions give features again; `linear` and `scores.energy` make scores of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from synood.errors import InputError
from synood.scores._rows import check_temperature, check_widths, checked, without_nan

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def linear(features: ArrayLike, weight: ArrayLike, bias: ArrayLike) -> NDArray[np.float32]:
    """Logits (N, C) of a linear layer."""
    seen, rows = checked(features, "features"), checked(weight, "weight")
    check_widths(seen, rows, "features", "the layer's weights")
    logits: NDArray[np.float32] = (seen @ rows.T + np.asarray(bias)).astype(np.float32, copy=False)
    return logits


def clipped(features: ArrayLike, limit: float) -> NDArray[Any]:
    """ReAct: no activation above `limit` (Sun, Guo and Li, NeurIPS 2021, equation 1).

    Args:
        features: (N, P) penultimate features.
        limit: c; in the paper the 90th percentile of all activations of training images.
    """
    shaped: NDArray[Any] = np.minimum(checked(features, "features"), limit)
    return shaped


def sparse_weight(features: ArrayLike, weight: ArrayLike, sparsity: float) -> NDArray[Any]:
    """DICE: the layer's weights (C, P), zero where they contribute least (Sun and Li, ECCV 2022).

    A weight's contribution is the weight times the mean of its input over training images; those
    at or below the `sparsity` quantile of all contributions are dropped.

    Args:
        features: (N, P) penultimate features of training images.
        weight: (C, P) of the last linear layer.
        sparsity: p in [0, 1); 0.7 for ImageNet in the paper.
    """
    _check_share(sparsity, "sparsity")
    seen, rows = checked(features, "features"), checked(weight, "weight")
    check_widths(seen, rows, "features", "the layer's weights")
    contribution = rows * seen.mean(axis=0)
    kept: NDArray[Any] = np.where(contribution > np.quantile(contribution, sparsity), rows, 0)
    return kept


def ash_p(features: ArrayLike, share: float = 0.6) -> NDArray[Any]:
    """ASH-P: the `share` smallest activations of each image become 0 (Djurisic et al., ICLR 2023).

    Args:
        features: (N, P) penultimate features.
        share: p in [0, 1); 0.6 for ImageNet in the paper.
    """
    return _pruned(checked(features, "features"), share)


def ash_b(features: ArrayLike, share: float = 0.65) -> NDArray[Any]:
    """ASH-B: as `ash_p`, and all that is left becomes equal, so that an image keeps its sum.

    Args:
        features: (N, P) penultimate features.
        share: p in [0, 1); 0.65 for ImageNet in the paper.
    """
    seen = checked(features, "features")
    kept = _kept(seen, share)
    level = seen.sum(axis=1) / kept.shape[1]
    shaped = np.zeros_like(seen)
    np.put_along_axis(shaped, kept, level[:, None], axis=1)
    return shaped


def ash_s(features: ArrayLike, share: float = 0.9) -> NDArray[Any]:
    """ASH-S: as `ash_p`, and what is left is scaled up by exp(sum before / sum after).

    Args:
        features: (N, P) penultimate features, not negative on the whole.
        share: p in [0, 1); 0.9 for ImageNet in the paper.
    """
    seen = checked(features, "features")
    pruned = _pruned(seen, share)
    before, after = seen.sum(axis=1), pruned.sum(axis=1)
    ratio = np.divide(before, after, out=np.ones_like(before), where=after != 0)
    shaped: NDArray[Any] = pruned * np.exp(ratio)[:, None]
    return shaped


def gradnorm(
    features: ArrayLike, logits: ArrayLike, temperature: float = 1.0
) -> NDArray[np.float32]:
    """GradNorm: the L1 norm of the last layer's gradient (Huang, Geng and Li, NeurIPS 2021).

    The gradient of the divergence between uniform distribution and softmax is the outer product of
    the features and of (softmax - 1 / C) / T, so its norm is a product of two (equation 8 there).

    Args:
        features: (N, P) penultimate features.
        logits: (N, C) of the same images.
        temperature: T of the softmax; 1 in the paper.
    """
    check_temperature(temperature)
    seen, outputs = checked(features, "features"), checked(logits, "logits")
    if len(seen) != len(outputs):
        raise InputError(f"logits: {len(outputs)} rows for {len(seen)} of features")
    with np.errstate(all="ignore"):  # NaN shows in the result
        powers = np.exp((outputs - outputs.max(axis=1, keepdims=True)) / temperature)
        p = powers / powers.sum(axis=1, keepdims=True)
        of_logits = np.abs(p - 1.0 / outputs.shape[1]).sum(axis=1) / temperature
        scores = np.abs(seen).sum(axis=1) * of_logits
    return without_nan(scores.astype(np.float32, copy=False), "features and logits")


def _pruned(features: NDArray[Any], share: float) -> NDArray[Any]:
    kept = _kept(features, share)
    shaped = np.zeros_like(features)
    np.put_along_axis(shaped, kept, np.take_along_axis(features, kept, axis=1), axis=1)
    return shaped


def _kept(features: NDArray[Any], share: float) -> NDArray[np.int64]:
    """Places of each row's largest activations, all but the `share` smallest."""
    _check_share(share, "share")
    width = features.shape[1]
    dropped = min(round(width * share), width - 1)
    places: NDArray[np.int64] = np.argpartition(features, dropped, axis=1)[:, dropped:]
    return places


def _check_share(share: float, name: str) -> None:
    if not 0.0 <= share < 1.0:
        raise InputError(f"{name}: {share} is not in [0, 1)")
