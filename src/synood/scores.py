"""From logits or cosine similarities to one score per image; higher = more in-distribution (ID).

Pure functions of their arguments. Each returns (N,) float32; half and single precision input is
computed in single precision, everything else in double. Rows are worked off in blocks, so that
temporary memory does not grow with the number of images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike, NDArray

ROWS = 512  # a block of images; 10,000 labels then take 20 MB


def msp(logits: ArrayLike) -> NDArray[np.float32]:
    """Maximum softmax probability (Hendrycks and Gimpel, 2017), in (0, 1].

    Args:
        logits: (N, C) classifier outputs.
    """
    return _by_rows(_checked(logits, "logits"), lambda block: _top_probability(block, 1.0))


def max_logit(logits: ArrayLike) -> NDArray[np.float32]:
    """Largest logit (Hendrycks et al., 2022), in the logits' own unit.

    Args:
        logits: (N, C) classifier outputs.
    """
    return _by_rows(_checked(logits, "logits"), lambda block: block.max(axis=1))


def energy(logits: ArrayLike, temperature: float = 1.0) -> NDArray[np.float32]:
    """Negative free energy, T * logsumexp(logits / T) (Liu et al., 2020): the -E of that paper.

    Args:
        logits: (N, C) classifier outputs.
        temperature: T, in the logits' unit.
    """
    _check_temperature(temperature)
    return _by_rows(
        _checked(logits, "logits"), lambda block: _soft_maximum(block, temperature).ravel()
    )


def mcm(id_similarity: ArrayLike, temperature: float = 1.0) -> NDArray[np.float32]:
    """Maximum concept matching (Ming et al., 2022): largest softmax over the class names.

    Args:
        id_similarity: (N, C) cosine similarities of images and class prompts.
        temperature: of the softmax; 1 on raw cosines, as in its eval_ood_detection.py:31.
    """
    _check_temperature(temperature)
    similarity = _checked(id_similarity, "id_similarity")
    return _by_rows(similarity, lambda block: _top_probability(block, temperature))


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
    _check_temperature(temperature)
    classes = _checked(id_similarity, "id_similarity")
    negatives = _checked(negative_similarity, "negative_similarity")
    if len(classes) != len(negatives):
        raise InputError(
            f"negative_similarity: {len(negatives)} rows, but id_similarity has {len(classes)};"
            " both need one row per image"
        )
    order = group_order(negatives.shape[1], groups, seed)
    scores = np.empty(len(classes), np.float32)
    for rows in _blocks(len(classes)):
        dealt = np.take(negatives[rows], order.ravel(), axis=1)
        scores[rows] = _class_share(classes[rows].copy(), dealt, len(order), temperature)
    return _without_nan(scores, "id_similarity and negative_similarity")


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
        _check_temperature(temperature)
        classes = normalise(class_features, "class_features")
        negatives = normalise(negative_features, "negative_features")
        _check_widths(classes, negatives, "class_features", "negative_features")
        order = group_order(len(negatives), groups, seed)
        text = np.concatenate([classes, negatives[order.ravel()]])
        return cls(text, len(classes), len(order), temperature)

    def __call__(self, image_features: ArrayLike) -> NDArray[np.float32]:
        """Score (N, D) image features of any length: (N,) in [0, 1]."""
        images = normalise(image_features, "image_features")
        _check_widths(images, self.text, "image_features", "the labels")
        scores = np.empty(len(images), np.float32)
        for rows in _blocks(len(images)):
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


def cosine_similarity(image_features: ArrayLike, text_features: ArrayLike) -> NDArray[np.float32]:
    """Cosines of (N, D) image and (C, D) text features of any length: (N, C) in [-1, 1]."""
    images = normalise(image_features, "image_features")
    texts = normalise(text_features, "text_features")
    _check_widths(images, texts, "image_features", "text_features")
    cosines: NDArray[np.float32] = np.clip(images @ texts.T, -1.0, 1.0)
    return cosines


def normalise(features: ArrayLike, name: str = "features") -> NDArray[np.float32]:
    """Scale the rows of (N, D) features to unit length; a zero or non-finite row is refused."""
    rows = _checked(features, name)
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    usable = np.isfinite(lengths) & (lengths > 0.0)
    if not usable.all():
        row = int(np.argmin(usable))
        raise InputError(f"{name}: row {row} has length {lengths[row]}; it has no direction")
    unit = np.empty(rows.shape, np.float32)
    np.divide(rows, lengths[:, None], out=unit, casting="same_kind")
    return unit


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


def _top_probability(block: NDArray[Any], temperature: float) -> NDArray[Any]:
    away = (block - block.max(axis=1, keepdims=True)) / temperature
    probability: NDArray[Any] = 1.0 / np.exp(away).sum(axis=1)
    return probability


def _soft_maximum(block: NDArray[Any], temperature: float) -> NDArray[Any]:
    top = block.max(axis=1, keepdims=True)
    total = np.exp((block - top) / temperature).sum(axis=1, keepdims=True)
    soft: NDArray[Any] = top + temperature * np.log(total)
    return soft


def _by_rows(
    values: NDArray[Any], score: Callable[[NDArray[Any]], NDArray[Any]]
) -> NDArray[np.float32]:
    scores = np.empty(len(values), np.float32)
    with np.errstate(all="ignore"):  # a vanishing exp is right here; NaN shows in the result
        for rows in _blocks(len(values)):
            scores[rows] = score(values[rows])
    return _without_nan(scores, "input")


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, start + ROWS) for start in range(0, n, ROWS))


def _without_nan(scores: NDArray[np.float32], source: str) -> NDArray[np.float32]:
    bad = np.isnan(scores)
    if bad.any():
        raise InputError(f"{source}: row {int(np.argmax(bad))} holds NaN or infinity")
    return scores


def _checked(values: ArrayLike, name: str) -> NDArray[Any]:
    """Return (rows, columns) real values as float32 or float64."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: not an array of numbers ({error})") from None
    if array.ndim != 2 or array.shape[1] == 0:
        raise InputError(f"{name}: shape {array.shape} is not (rows, columns)")
    if array.dtype.kind not in "iuf":
        raise InputError(f"{name}: dtype {array.dtype} is not real")
    single = array.dtype in (np.float16, np.float32)
    return array.astype(np.float32 if single else np.float64, copy=False)


def _check_widths(a: NDArray[Any], b: NDArray[Any], name_a: str, name_b: str) -> None:
    if a.shape[1] != b.shape[1]:
        raise InputError(
            f"{name_a}: {a.shape[1]} columns, but {name_b} have {b.shape[1]};"
            " both must come from one encoder"
        )


def _check_temperature(temperature: float) -> None:
    if not 1e-30 < temperature < math.inf:  # also refuses NaN, and what is 0 in single precision
        raise InputError(f"temperature: {temperature} is not a positive number")
