"""From similarities to names, of the classes and of what they are not, to one score per image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synood.errors import InputError
from synood.scores._rows import (
    blocks,
    by_rows,
    check_temperature,
    check_widths,
    checked,
    normalise,
    top_probability,
    without_nan,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def mcm(id_similarity: ArrayLike, temperature: float = 1.0) -> NDArray[np.float32]:
    """Maximum concept matching (Ming et al., 2022): largest softmax over the class names.

    Args:
        id_similarity: (N, C) cosine similarities of images and class prompts.
        temperature: of the softmax; 1 on raw cosines, as in its eval_ood_detection.py:31.
    """
    check_temperature(temperature)
    similarity = checked(id_similarity, "id_similarity")
    return by_rows(similarity, lambda block: top_probability(block, temperature))


def gl_mcm(
    id_similarity: ArrayLike,
    patch_similarity: ArrayLike,
    temperature: float = 1.0,
    weight: float = 1.0,
) -> NDArray[np.float32]:
    """Global and local maximum concept matching (Miyai et al., IJCV 2025): their weighted sum.

    Args:
        id_similarity: (N, C) cosine similarities of images and class prompts.
        patch_similarity: (N, L, C) of L places in each image and the same prompts.
        temperature: of both softmaxes; 1 as in its eval_ood_detection.py:25.
        weight: lambda of the local part; 1 as in its eval_ood_detection.py:33.
    """
    patches = np.asarray(patch_similarity)
    if patches.ndim != 3 or 0 in patches.shape[1:]:
        raise InputError(
            f"patch_similarity: shape {patches.shape} is not (images, places, classes)"
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
    """Envisioned outliers (Cao et al., ICML 2024): largest class less a share of largest outlier.

    Both are probabilities of one softmax over class names and envisioned outlier names.

    Args:
        id_similarity: (N, C) cosine similarities of images and class prompts.
        outlier_similarity: (N, M) of images and the prompts of envisioned outlier names.
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
    """Share of the class names in a softmax over class names and negative labels, in [0, 1].

    With groups=1 or None this is equation 2 of SynOOD. Otherwise the negatives are dealt into
    groups by `group_order`, the share is taken against each group alone, and the shares are
    averaged (NegLabel, clip_ood.py:25-49; its ungrouped branch forgets the softmax, this does not).

    Args:
        id_similarity: (N, C) cosine similarities of images and class prompts.
        negative_similarity: (N, M) cosine similarities of images and negative labels.
        temperature: tau of the softmax; 0.01 is CLIP's logit scale of 100.
        groups: number of groups; more groups than negatives means ungrouped.
        seed: of the permutation that deals the negatives.
    """
    check_temperature(temperature)
    classes, negatives = _same_images(id_similarity, negative_similarity, "negative_similarity")
    order = group_order(negatives.shape[1], groups, seed)
    scores = np.empty(len(classes), np.float32)
    for rows in blocks(len(classes)):
        dealt = np.take(negatives[rows], order.ravel(), axis=1)
        scores[rows] = _class_share(classes[rows].copy(), dealt, len(order), temperature)
    return without_nan(scores, "id_similarity and negative_similarity")


@dataclass(frozen=True, eq=False)
class NegLabelScorer:
    """`neglabel` from features: the labels are dealt into groups once, then one product a block.

    Attributes:
        text: (C + groups * size, D) unit rows: classes, then the negatives group by group.
        n_classes: C.
        groups: number of groups the negatives form.
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
        """Prepare (C, D) class and (M, D) negative features; the other arguments as `neglabel`."""
        check_temperature(temperature)
        classes = normalise(class_features, "class_features")
        negatives = normalise(negative_features, "negative_features")
        check_widths(classes, negatives, "class_features", "negative_features")
        order = group_order(len(negatives), groups, seed)
        text = np.concatenate([classes, negatives[order.ravel()]])
        return cls(text, len(classes), len(order), temperature)

    def __call__(self, image_features: ArrayLike) -> NDArray[np.float32]:
        """Score (N, D) image features of any length: (N,) in [0, 1]."""
        images = normalise(image_features, "image_features")
        check_widths(images, self.text, "image_features", "the labels")
        scores = np.empty(len(images), np.float32)
        for rows in blocks(len(images)):
            similarity = images[rows] @ self.text.T
            classes, negatives = np.split(similarity, [self.n_classes], axis=1)
            scores[rows] = _class_share(classes, negatives, self.groups, self.temperature)
        return scores


def group_order(n_negatives: int, groups: int | None, seed: int) -> NDArray[np.int64]:
    """Deal `n_negatives` labels into equal groups: (groups, size) indices.

    As in NegLabel the last `n_negatives` mod `groups` labels are dropped and the others permuted,
    here by NumPy's generator, so that the groups are the same on every device. One group, or more
    groups than labels, gives one group of all labels in the order given.
    """
    if n_negatives < 1:
        raise InputError("negative labels: none given; at least one is needed")
    if groups is not None and groups < 1:
        raise InputError(f"groups: {groups} is below 1; 1 means ungrouped")
    if groups is None or groups == 1 or groups > n_negatives:
        return np.arange(n_negatives).reshape(1, -1)
    kept = n_negatives - n_negatives % groups
    return np.random.default_rng(seed).permutation(kept).reshape(groups, -1)


def _class_share(
    classes: NDArray[Any], negatives: NDArray[Any], groups: int, temperature: float
) -> NDArray[Any]:
    """Mean over groups of sum(exp classes) / (sum(exp classes) + sum(exp group)); overwrites both.

    Everything is measured from the largest class, so the classes' sum lies in [1, C]: it cannot
    vanish, and a group that overflows to infinity gives the share 0 that it should.
    """
    top = classes.max(axis=1, keepdims=True)
    with np.errstate(all="ignore"):  # infinity and 0 are right here; NaN shows in the result
        for part in (classes, negatives):
            part -= top
            part /= temperature
            np.exp(part, out=part)
        of_classes = classes.sum(axis=1, keepdims=True)
        of_groups = negatives.reshape(len(negatives), groups, -1).sum(axis=2)
        share: NDArray[Any] = (of_classes / (of_classes + of_groups)).mean(axis=1)
    return share


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
