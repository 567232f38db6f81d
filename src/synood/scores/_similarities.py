"""Similarities of images to class names and negative labels -> one score per image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synood.arrays import to_numpy
from synood.errors import InputError
from synood.scores._odds import log_odds_of, share_of
from synood.scores._rows import (
    blocks,
    by_rows,
    check_temperature,
    check_widths,
    checked,
    max_softmax,
    normalise,
    without_nan,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Doubles = NDArray[np.float64]


def mcm(id_similarity: ArrayLike, temperature: float = 1.0) -> NDArray[np.float32]:
    """MCM (Ming et al., 2022): largest softmax probability over the class names.

    Args:
        id_similarity: (N, C) cosine similarities of images and class prompts.
        temperature: of the softmax; 1 on raw cosines, as in the authors' eval_ood_detection.py:31.
    """
    check_temperature(temperature)
    similarity = checked(id_similarity, "id_similarity")
    return by_rows(similarity, lambda block: max_softmax(block, temperature))


def gl_mcm(
    id_similarity: ArrayLike,
    patch_similarity: ArrayLike,
    temperature: float = 1.0,
    weight: float = 1.0,
) -> NDArray[np.float32]:
    """GL-MCM (Miyai et al., IJCV 2025): weighted sum of MCM of the image and of its best patch.

    Args:
        id_similarity: (N, C) cosine similarities of images and class prompts.
        patch_similarity: (N, L, C) the same of L patches of each image.
        temperature: of both softmaxes; 1 as in the authors' eval_ood_detection.py:25.
        weight: lambda of the local part; 1 as in the authors' eval_ood_detection.py:33.
    """
    patches = to_numpy(patch_similarity, "patch_similarity")
    if patches.ndim != 3 or 0 in patches.shape[1:]:
        raise InputError(
            f"patch_similarity: shape {patches.shape} is not (images, patches, classes)"
        )
    whole = mcm(id_similarity, temperature)
    if len(whole) != len(patches):
        raise InputError(f"patch_similarity: {len(patches)} images, id_similarity has {len(whole)}")
    local = mcm(patches.reshape(-1, patches.shape[2]), temperature)
    both: NDArray[np.float32] = whole + np.float32(weight) * local.reshape(patches.shape[:2]).max(1)
    return both


def eoe(
    id_similarity: ArrayLike,
    outlier_similarity: ArrayLike,
    temperature: float = 1.0,
    weight: float = 0.25,
) -> NDArray[np.float32]:
    """EOE (Cao et al., ICML 2024): largest class less `weight` times largest outlier probability.

    Both are probabilities of one softmax over class names and envisioned outlier names.

    Args:
        id_similarity: (N, C) cosine similarities of images and class prompts.
        outlier_similarity: (N, M) cosine similarities of images and the prompts of outlier names.
        temperature: of the softmax; 1 on raw cosines in the paper.
        weight: beta; 0.25 in the paper.
    """
    check_temperature(temperature)
    classes, outliers = _same_images(id_similarity, outlier_similarity, "outlier_similarity")
    n_classes = classes.shape[1]

    def score(block: NDArray[Any]) -> NDArray[Any]:
        powers = np.exp((block - block.max(axis=1, keepdims=True)) / temperature)
        top, outlier = powers[:, :n_classes].max(axis=1), powers[:, n_classes:].max(axis=1)
        difference: NDArray[Any] = (top - weight * outlier) / powers.sum(axis=1)
        return difference

    return by_rows(np.concatenate([classes, outliers], axis=1), score)


def neglabel(
    id_similarity: ArrayLike,
    negative_similarity: ArrayLike,
    temperature: float = 0.01,
    groups: int | None = 100,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Softmax probability of all class names together against the negative labels, in [0, 1].

    With groups=1 or None this is equation 2 of SynOOD. Otherwise `group_order` splits the negatives
    into groups, the probability is computed against each group alone and averaged over groups
    (NegLabel, clip_ood.py:25-49, whose ungrouped branch lacks the softmax). In single precision it
    is exactly 1 or 0 for many images: `neglabel_log_odds` tells those apart.

    Args:
        id_similarity: (N, C) cosine similarities of images and class prompts.
        negative_similarity: (N, M) cosine similarities of images and negative labels.
        temperature: tau of the softmax; 0.01 is CLIP's logit scale of 100.
        groups: number of groups; 1, None or more than the negatives means ungrouped.
        seed: of the permutation that splits the negatives.
    """
    odds = _log_odds(id_similarity, negative_similarity, temperature, groups, seed)
    return share_of(odds).astype(np.float32)


def neglabel_log_odds(
    id_similarity: ArrayLike,
    negative_similarity: ArrayLike,
    temperature: float = 0.01,
    groups: int | None = 100,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Log odds of `neglabel`, whose sigmoid (`share`) it is: (N,), any number, never saturated.

    That is log(mean p) - log(mean (1 - p)), where p is the probability of the class names against
    one group and the means are over groups. The arguments are those of `neglabel`.

    >>> neglabel_log_odds([[0.3], [0.9]], [[0.1], [0.1]], groups=1)
    array([20., 80.], dtype=float32)
    """
    found = _log_odds(id_similarity, negative_similarity, temperature, groups, seed)
    return found.astype(np.float32)


def _log_odds(
    id_similarity: ArrayLike,
    negative_similarity: ArrayLike,
    temperature: float,
    groups: int | None,
    seed: int,
) -> Doubles:
    check_temperature(temperature)
    classes, negatives = _same_images(id_similarity, negative_similarity, "negative_similarity")
    order = group_order(negatives.shape[1], groups, seed)
    odds = np.empty(len(classes))
    for rows in blocks(len(classes), classes.shape[1] + order.size):
        logits = np.hstack([classes[rows], np.take(negatives[rows], order.ravel(), axis=1)])
        with np.errstate(all="ignore"):  # NaN and infinity are found in the result
            # less the largest class first: logits would lose the digits in which they differ
            logits -= classes[rows].max(axis=1, keepdims=True)
            logits /= temperature
        odds[rows] = log_odds_of(logits, classes.shape[1], len(order))
    return without_nan(odds, "id_similarity and negative_similarity")


@dataclass(frozen=True, eq=False)
class NegLabelScorer:
    """`neglabel` from features: the labels are grouped once, then each block is one matrix product.

    Attributes:
        text: (C + groups * size, D) unit rows: classes, then the negatives group by group.
        n_classes: C.
        groups: number of groups of negatives.
        temperature: tau of the softmax.
    """

    text: NDArray[np.float32]
    n_classes: int
    groups: int
    temperature: float

    @classmethod
    def from_features(
        cls,
        class_features: ArrayLike,
        negative_features: ArrayLike,
        temperature: float = 0.01,
        groups: int | None = 100,
        seed: int = 0,
    ) -> NegLabelScorer:
        """Normalise and group (C, D) class and (M, D) negative features; see `neglabel`."""
        check_temperature(temperature)
        classes = normalise(class_features, "class_features")
        negatives = normalise(negative_features, "negative_features")
        check_widths(classes, negatives, "class_features", "negative_features")
        order = group_order(len(negatives), groups, seed)
        text = np.empty((len(classes) + order.size, classes.shape[1]), np.float32)
        text[: len(classes)] = classes
        # "clip": with the default mode NumPy makes a copy of the result first
        np.take(negatives, order.ravel(), axis=0, out=text[len(classes) :], mode="clip")
        return cls(text, len(classes), len(order), temperature)

    def __call__(self, image_features: ArrayLike) -> NDArray[np.float32]:
        """Score (N, D) image features, which need not be normalised: `neglabel`, (N,) in [0, 1]."""
        return share_of(self._log_odds(image_features)).astype(np.float32)

    def log_odds(self, image_features: ArrayLike) -> NDArray[np.float32]:
        """Score (N, D) image features, which need not be normalised: `neglabel_log_odds`, (N,)."""
        return self._log_odds(image_features).astype(np.float32)

    def _log_odds(self, image_features: ArrayLike) -> Doubles:
        images = normalise(image_features, "image_features")
        check_widths(images, self.text, "image_features", "the labels")
        odds = np.empty(len(images))
        for rows in blocks(len(images)):
            logits = (images[rows] / np.float32(self.temperature)) @ self.text.T
            odds[rows] = log_odds_of(logits, self.n_classes, self.groups)
        return odds


def group_order(n_negatives: int, groups: int | None, seed: int) -> NDArray[np.int64]:
    """Split `n_negatives` labels into equal random groups: (groups, size) indices.

    As in NegLabel, the last `n_negatives` mod `groups` labels are dropped and the others permuted;
    NumPy's generator makes the groups the same on every device. One group, or more groups than
    labels, gives one group of all labels in their order.
    """
    if n_negatives < 1:
        raise InputError("negative labels: none given; at least one is needed")
    if groups is not None and groups < 1:
        raise InputError(f"groups: {groups} is below 1; 1 means ungrouped")
    if groups is None or groups == 1 or groups > n_negatives:
        return np.arange(n_negatives).reshape(1, -1)
    kept = n_negatives - n_negatives % groups
    return np.random.default_rng(seed).permutation(kept).reshape(groups, -1)


def _same_images(
    id_similarity: ArrayLike, other: ArrayLike, name: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    classes, others = checked(id_similarity, "id_similarity"), checked(other, name)
    if len(classes) != len(others):
        raise InputError(
            f"{name}: {len(others)} rows, but id_similarity has {len(classes)};"
            " both need one row per image"
        )
    return classes, others
