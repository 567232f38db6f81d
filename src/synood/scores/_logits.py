"""A classifier's logits -> one score per image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from synood.errors import InputError
from synood.scores._rows import by_rows, check_temperature, checked, logsumexp, max_softmax

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def msp(logits: ArrayLike, temperature: float = 1.0) -> NDArray[np.float32]:
    """Maximum softmax probability (Hendrycks and Gimpel, 2017), in (0, 1].

    Args:
        logits: (N, C) classifier outputs.
        temperature: of the softmax; 1 in the paper, 1000 in ODIN.
    """
    check_temperature(temperature)
    return by_rows(checked(logits, "logits"), lambda block: max_softmax(block, temperature))


def max_logit(logits: ArrayLike) -> NDArray[np.float32]:
    """Largest logit (Hendrycks et al., 2022).

    Args:
        logits: (N, C) classifier outputs.
    """
    return by_rows(checked(logits, "logits"), lambda block: block.max(axis=1))


def max_log_odds(logits: ArrayLike) -> NDArray[np.float32]:
    """Log odds of the largest probability p, log(p / (1 - p)): ranks as `msp`, never saturates.

    Args:
        logits: (N, C) classifier outputs of two classes or more.
    """
    values = checked(logits, "logits")
    if values.shape[1] < 2:
        raise InputError("logits: one class has probability 1; two or more are needed")

    def score(block: NDArray[Any]) -> NDArray[Any]:
        rest = np.array(block)
        top = block.argmax(axis=1)[:, None]
        largest = np.take_along_axis(block, top, axis=1)[:, 0]
        np.put_along_axis(rest, top, -np.inf, axis=1)
        odds: NDArray[Any] = largest - logsumexp(rest, 1.0)
        return odds

    return by_rows(values, score)


def energy(logits: ArrayLike, temperature: float = 1.0) -> NDArray[np.float32]:
    """Negative free energy, T * logsumexp(logits / T) (Liu et al., 2020): -E in the paper.

    Args:
        logits: (N, C) classifier outputs.
        temperature: T, in the logits' unit.
    """
    check_temperature(temperature)
    return by_rows(checked(logits, "logits"), lambda block: logsumexp(block, temperature))


def gen(logits: ArrayLike, gamma: float = 0.1, top: int | None = None) -> NDArray[np.float32]:
    """Negative generalised entropy, -sum p^gamma (1 - p)^gamma (Liu et al., CVPR 2023), at most 0.

    Args:
        logits: (N, C) classifier outputs.
        gamma: in (0, 1); 0.1 in the paper.
        top: number of largest probabilities to sum; None is a tenth of the classes, like the
            paper's 100 of ImageNet's 1,000.
    """
    if not 0.0 < gamma < 1.0:
        raise InputError(f"gamma: {gamma} is not in (0, 1)")
    values = checked(logits, "logits")
    n_classes = values.shape[1]
    count = -(-n_classes // 10) if top is None else top
    if not 1 <= count <= n_classes:
        raise InputError(f"top: {top} is not between 1 and the {n_classes} classes")

    def score(block: NDArray[Any]) -> NDArray[Any]:
        block = block.astype(
            np.float64
        )  # 1 - p of a confident classifier vanishes in single precision
        powers = np.exp(block - block.max(axis=1, keepdims=True))
        p = powers / powers.sum(axis=1, keepdims=True)
        p = np.partition(p, n_classes - count, axis=1)[:, n_classes - count :]
        entropy: NDArray[Any] = ((p * (1.0 - p)) ** gamma).sum(axis=1)
        return -entropy

    return by_rows(values, score)
