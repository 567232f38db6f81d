"""Selective prediction: the errors among accepted images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood.errors import InputError
from synood.metrics._curve import checked, comparable, curve_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def aurc(scores: ArrayLike, correct: ArrayLike) -> float:
    """Area under the risk-coverage curve (Geifman, Uziel and El-Yaniv, ICLR 2019, equation 1).

    The mean, over k from 1 to N, of the error rate among the k images with the highest scores.
    Tied scores are averaged over their orders, so the result does not depend on the order of the
    input. Lower is better; 0 means no errors.

    Args:
        scores: (N,) confidences, higher = more likely correct.
        correct: (N,) whether the classifier was right: booleans, or 0 and 1.

    Raises:
        InputError: the lengths differ, or `correct` holds anything but 0 and 1.
    """
    values, right = checked(scores, "scores"), checked(correct, "correct")
    if values.size != right.size:
        raise InputError(f"correct: {right.size} values for {values.size} scores")
    if not np.isin(right, (0, 1)).all():
        raise InputError("correct: holds values other than 0 and 1")
    right = right.astype(bool)
    if right.all():
        return 0.0
    if not right.any():
        return 1.0
    curve = curve_of(values[right], values[~right])
    accepted = np.append(0, curve.tps + curve.fps)
    k = np.arange(1, values.size + 1)
    wrong = np.interp(k, accepted, np.append(0, curve.fps))  # linear within a tie
    return float(np.mean(wrong / k))


def aurc_with_ood(id_scores: ArrayLike, id_correct: ArrayLike, ood_scores: ArrayLike) -> float:
    """AURC over ID and OOD images together; an accepted OOD image is an error.

    The evaluation of Jaeger et al., ICLR 2023 (arXiv 2211.15259): a system should accept an image
    only when its predicted class is right, whatever makes it wrong.

    Args:
        id_scores: (N,) scores of ID images, higher = more in-distribution.
        id_correct: (N,) whether the classifier was right on them.
        ood_scores: (M,) scores of OOD images.
    """
    ids, oods = comparable(checked(id_scores, "id_scores"), checked(ood_scores, "ood_scores"))
    right = checked(id_correct, "id_correct")
    if ids.size != right.size:
        raise InputError(f"id_correct: {right.size} values for {ids.size} id_scores")
    return aurc(np.concatenate([ids, oods]), np.append(right, np.zeros(oods.size, right.dtype)))
