"""Clipping and pruning of penultimate features and of the last layer's weights.

Features (N, P) are the input of a classifier's last linear layer with `weight` (C, P) and `bias`
(C,). The functions return shaped features; `linear` and `scores.energy` turn them into scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from synood.arrays import to_numpy
from synood.errors import InputError
from synood.scores._rows import check_temperature, check_widths, checked, without_nan

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def linear(features: ArrayLike, weight: ArrayLike, bias: ArrayLike) -> NDArray[np.float32]:
    """Return the logits (N, C) of a linear layer."""
    seen, rows = checked(features, "features"), checked(weight, "weight")
    check_widths(seen, rows, "features", "the layer's weights")
    logits: NDArray[np.float32] = (seen @ rows.T + to_numpy(bias, "bias")).astype(
        np.float32, copy=False
    )
    return logits


def clipped(features: ArrayLike, limit: float) -> NDArray[Any]:
    """ReAct: activations clipped at `limit` (Sun, Guo and Li, NeurIPS 2021, equation 1).

    Args:
        features: (N, P) penultimate features.
        limit: c; in the paper the 90th percentile of the training images' activations.
    """
    shaped: NDArray[Any] = np.minimum(checked(features, "features"), limit)
    return shaped


def sparse_weight(features: ArrayLike, weight: ArrayLike, sparsity: float) -> NDArray[Any]:
    """DICE: the layer's weights (C, P), the least contributing set to 0 (Sun and Li, ECCV 2022).

    A weight's contribution is the weight times the mean of its input over the training images;
    weights at or below the `sparsity` quantile of all contributions are set to 0.

    Args:
        features: (N, P) penultimate features of training images.
        weight: (C, P) of the last linear layer.
        sparsity: p in [0, 1); 0.7 for ImageNet in the paper.
    """
    _check_fraction(sparsity, "sparsity")
    seen, rows = checked(features, "features"), checked(weight, "weight")
    check_widths(seen, rows, "features", "the layer's weights")
    contribution = rows * seen.mean(axis=0)
    kept: NDArray[Any] = np.where(contribution > np.quantile(contribution, sparsity), rows, 0)
    return kept


def ash_p(features: ArrayLike, share: float = 0.6) -> NDArray[Any]:
    """ASH-P: the smallest activations of each image set to 0 (Djurisic et al., ICLR 2023).

    Args:
        features: (N, P) penultimate features.
        share: p, the fraction of activations to prune, in [0, 1); 0.6 for ImageNet in the paper.
    """
    return _pruned(checked(features, "features"), share)


def ash_b(features: ArrayLike, share: float = 0.65) -> NDArray[Any]:
    """ASH-B: as `ash_p`, then all remaining activations set to one value that keeps the sum.

    Args:
        features: (N, P) penultimate features.
        share: p, the fraction of activations to prune, in [0, 1); 0.65 for ImageNet in the paper.
    """
    seen = checked(features, "features")
    kept = _kept(seen, share)
    level = seen.sum(axis=1) / kept.shape[1]
    shaped = np.zeros_like(seen)
    np.put_along_axis(shaped, kept, level[:, None], axis=1)
    return shaped


def ash_s(features: ArrayLike, share: float = 0.9) -> NDArray[Any]:
    """ASH-S: as `ash_p`, then remaining activations scaled by exp(sum before / sum after).

    Args:
        features: (N, P) penultimate features, mostly non-negative.
        share: p, the fraction of activations to prune, in [0, 1); 0.9 for ImageNet in the paper.
    """
    seen = checked(features, "features")
    pruned = _pruned(seen, share)
    before, after = seen.sum(axis=1), pruned.sum(axis=1)
    ratio = np.divide(before, after, out=np.ones_like(before), where=after != 0)
    shaped: NDArray[Any] = pruned * np.exp(ratio)[:, None]
    return shaped


def scale(features: ArrayLike, share: float = 0.85) -> NDArray[Any]:
    """SCALE: all activations scaled by exp(sum / sum of the largest) (Xu et al., ICLR 2024).

    Unlike `ash_s` nothing is pruned (OpenOOD, scale_net.py).

    Args:
        features: (N, P) penultimate features, mostly non-negative.
        share: p, the fraction of activations left out of the second sum, in [0, 1); 0.85 for
            ImageNet in the paper.
    """
    seen = checked(features, "features")
    before, after = seen.sum(axis=1), _pruned(seen, share).sum(axis=1)
    ratio = np.divide(before, after, out=np.ones_like(before), where=after != 0)
    scaled: NDArray[Any] = seen * np.exp(ratio)[:, None]
    return scaled


def gradnorm(
    features: ArrayLike, logits: ArrayLike, temperature: float = 1.0
) -> NDArray[np.float32]:
    """GradNorm: the L1 norm of the last layer's gradient (Huang, Geng and Li, NeurIPS 2021).

    The gradient of the divergence between the uniform distribution and the softmax is the outer
    product of the features and (softmax - 1 / C) / T, so its norm is the product of their norms
    (equation 8 of the paper).

    Args:
        features: (N, P) penultimate features.
        logits: (N, C) logits of the same images.
        temperature: T of the softmax; 1 in the paper.
    """
    check_temperature(temperature)
    seen, outputs = checked(features, "features"), checked(logits, "logits")
    if len(seen) != len(outputs):
        raise InputError(f"logits: {len(outputs)} rows for {len(seen)} of features")
    with np.errstate(all="ignore"):  # NaN is found in the result
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
    """Indices of each row's largest activations, without the fraction `share` of smallest."""
    _check_fraction(share, "share")
    width = features.shape[1]
    dropped = min(round(width * share), width - 1)
    indices: NDArray[np.int64] = np.argpartition(features, dropped, axis=1)[:, dropped:]
    return indices


def _check_fraction(fraction: float, name: str) -> None:
    if not 0.0 <= fraction < 1.0:
        raise InputError(f"{name}: {fraction} is not in [0, 1)")
