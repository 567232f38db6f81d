"""Scores from what a classifier gave for training images: SHE, KL-matching, fDBD, NNGuide.

Features (N, P) are the input of the classifier's last linear layer, logits (N, C) its output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synood.arrays import to_numpy
from synood.errors import InputError
from synood.scores._rows import blocks, by_rows, check_widths, checked, logsumexp, normalise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StoredPatterns:
    """SHE: inner product with the stored pattern of the predicted class (Zhang et al., ICLR 2023).

    A pattern (a row of `patterns` (C, P)) is the mean feature of the training images of a class
    that the classifier names rightly.
    """

    patterns: Doubles

    @classmethod
    def fit(cls, features: ArrayLike, logits: ArrayLike, labels: ArrayLike) -> StoredPatterns:
        """Average (N, P) features of training images with (N, C) logits and classes (N,).

        Where no image of a class is named rightly, all of its images are averaged; a class without
        images is an `InputError`.
        """
        rows, outputs = _same_rows(features, logits)
        classes = to_numpy(labels, "labels")
        if classes.shape != (len(rows),):
            raise InputError(f"labels: shape {classes.shape} for {len(rows)} images")
        right = outputs.argmax(axis=1) == classes
        patterns = []
        for label in range(outputs.shape[1]):
            own = classes == label
            if not own.any():
                raise InputError(f"labels: class {label} has no training image to take as pattern")
            kept = own & right if (own & right).any() else own
            patterns.append(rows[kept].mean(axis=0, dtype=np.float64))
        return cls(np.stack(patterns))

    def score(self, features: ArrayLike, logits: ArrayLike) -> NDArray[np.float32]:
        """Score (M, P) features with (M, C) logits: (M,), in the unit of squared features."""
        rows, outputs = _same_rows(features, logits)
        check_widths(rows, self.patterns, "features", "the patterns")
        own = self.patterns[outputs.argmax(axis=1)]
        found: NDArray[np.float32] = np.einsum("np,np->n", rows, own).astype(np.float32)
        return found


@dataclass(frozen=True, eq=False)
class PosteriorTemplates:
    """KL-matching: minus the divergence from the nearest class's mean posterior.

    Hendrycks et al., ICML 2022, section 4. A row of `log_templates` (C, C) is the logarithm of the
    mean softmax of the images that are predicted as that class, or of certainty if there are none.
    """

    log_templates: Doubles

    @classmethod
    def fit(cls, logits: ArrayLike) -> PosteriorTemplates:
        """Average the posteriors of in-distribution images with (N, C) logits."""
        outputs = checked(logits, "logits")
        shares, predicted = np.exp(_log_softmax(outputs)), outputs.argmax(axis=1)
        templates = np.eye(outputs.shape[1])
        for label in np.unique(predicted):
            templates[label] = shares[predicted == label].mean(axis=0)
        with np.errstate(divide="ignore"):
            return cls(np.log(templates))

    def score(self, logits: ArrayLike) -> NDArray[np.float32]:
        """Score (M, C) logits: (M,), at most 0 but for rounding."""
        outputs = checked(logits, "logits")
        check_widths(outputs, self.log_templates, "logits", "the templates")
        impossible = np.isneginf(self.log_templates)
        finite = np.where(impossible, 0.0, self.log_templates)

        def score(block: NDArray[Any]) -> NDArray[Any]:
            logs = _log_softmax(block)
            shares = np.exp(logs)
            cross = shares @ finite.T
            cross = np.where(shares @ impossible.T > 0, -np.inf, cross)
            nearest: NDArray[Any] = cross.max(axis=1) - (shares * logs).sum(axis=1)
            return nearest

        return by_rows(outputs, score)


@dataclass(frozen=True, eq=False)
class DecisionBoundaries:
    """fDBD: mean distance to the decision boundaries of the other classes (Liu and Qin, ICML 2024).

    It is divided by the distance to `middle` (P,), the mean of the training images' features.
    `gaps` (C, C) are the distances between the rows of `weight` (C, P).
    """

    middle: Doubles
    weight: Doubles
    bias: Doubles
    gaps: Doubles

    @classmethod
    def fit(cls, features: ArrayLike, weight: ArrayLike, bias: ArrayLike) -> DecisionBoundaries:
        """Take the mean of training images' (N, P) features, and a linear layer (C, P), (C,)."""
        rows = checked(features, "features").astype(np.float64)
        layer = checked(weight, "weight").astype(np.float64)
        check_widths(rows, layer, "features", "the layer's weights")
        if len(layer) < 2:
            raise InputError("weight: fDBD needs two classes or more; one class has no boundary")
        gaps = np.stack([np.linalg.norm(layer - row, axis=1) for row in layer])
        return cls(rows.mean(axis=0), layer, to_numpy(bias, "bias").astype(np.float64), gaps)

    def score(self, features: ArrayLike, centred: bool = True) -> NDArray[np.float32]:
        """Score (M, P) features: (M,), at least 0.

        With `centred` the distance to the mean of the training images divides, as in the paper
        (equation 7), else the length of the feature, as the authors also try.
        """
        rows = checked(features, "features")
        check_widths(rows, self.weight, "features", "the layer's weights")

        def score(block: NDArray[Any]) -> NDArray[Any]:
            block = block.astype(np.float64)
            logits = block @ self.weight.T + self.bias
            predicted = logits.argmax(axis=1)
            behind = logits.max(axis=1, keepdims=True) - logits
            gaps = self.gaps[predicted]
            distances = np.divide(behind, gaps, out=np.zeros_like(behind), where=gaps > 0)
            size = np.linalg.norm(block - self.middle if centred else block, axis=1)
            mean = distances.sum(axis=1) / (len(self.weight) - 1)
            scored: NDArray[Any] = np.divide(mean, size, out=np.zeros_like(mean), where=size > 0)
            return scored

        return by_rows(rows, score)


@dataclass(frozen=True, eq=False)
class GuidedNeighbours:
    """NNGuide: the energy times the confidence of the nearest training images.

    Park et al., ICCV 2023, equation 4. `bank` (N, P) holds the training images' unit features,
    each times its own energy.
    """

    bank: NDArray[np.float32]

    @classmethod
    def fit(cls, features: ArrayLike, logits: ArrayLike) -> GuidedNeighbours:
        """Store training images' (N, P) features and the energies of their (N, C) logits."""
        rows, outputs = _same_rows(features, logits)
        energy = logsumexp(outputs.astype(np.float64), 1.0)
        return cls((normalise(rows) * energy[:, None]).astype(np.float32))

    def scores(
        self, features: ArrayLike, logits: ArrayLike, ks: Sequence[int]
    ) -> NDArray[np.float32]:
        """Score (M, P) features and (M, C) logits with the k nearest, for each k: (M, len(ks))."""
        for k in ks:
            if not 1 <= k <= len(self.bank):
                raise InputError(f"k: {k} is not between 1 and the {len(self.bank)} stored images")
        rows, outputs = _same_rows(features, logits)
        check_widths(rows, self.bank, "features", "those of the training images")
        unit, most = normalise(rows), max(ks)
        found = np.empty((len(rows), len(ks)), np.float32)
        for part in blocks(len(rows)):
            alike = unit[part] @ self.bank.T
            top = np.partition(alike, alike.shape[1] - most, axis=1)[:, alike.shape[1] - most :]
            running = np.cumsum(-np.sort(-top, axis=1), axis=1, dtype=np.float64)
            guidance = np.stack([running[:, k - 1] / k for k in ks], axis=1)
            energy = logsumexp(outputs[part].astype(np.float64), 1.0)
            found[part] = guidance * energy[:, None]
        return found


def _log_softmax(block: NDArray[Any]) -> Doubles:
    wide = block.astype(np.float64)
    logs: Doubles = wide - logsumexp(wide, 1.0)[:, None]
    return logs


def _same_rows(features: ArrayLike, logits: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    rows, outputs = checked(features, "features"), checked(logits, "logits")
    if len(rows) != len(outputs):
        raise InputError(f"logits: {len(outputs)} rows for {len(rows)} of features")
    return rows, outputs
