"""Mahalanobis++: Mahalanobis distances of features of unit length (Mueller and Hein, ICML 2025).

NumPy alone, so that a detector can hold it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synood.arrays import to_numpy
from synood.errors import InputError
from synood.scores._rows import blocks, check_widths, normalise

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Doubles = NDArray[np.float64]
    Floats = NDArray[np.float32]

ENOUGH = 10  # images for each dimension, from which the covariance needs no shrinkage
LEAST_VARIANCE = 1e-10  # of the largest: what features in single precision cannot tell from 0


@dataclass(frozen=True, eq=False)
class MahalanobisPlus:
    """Minus the squared distance to the nearest class mean under one shared covariance.

    With u = f / norm(f), class means m_c of u and their shared covariance S =
    sum (u - m_c)(u - m_c)^T / N over the N training images (arXiv 2505.18032):

        score = -min_c (u - m_c)^T S^-1 (u - m_c)
        relative = (u - m)^T T^-1 (u - m) + score      m, T: mean and covariance of all images

    S and T are used as they are where they have `ENOUGH` images for each dimension, and are
    otherwise shrunk towards a multiple of the identity; see `fit`.

    Attributes:
        classes: Gaussians of the classes.
        background: one Gaussian of all images; None where there is only one class, whose own
            Gaussian it would be, and where no class has two different images, so that it would be
            narrower than the classes.
    """

    classes: TiedGaussians
    background: TiedGaussians | None

    @classmethod
    def fit(
        cls, features: ArrayLike, labels: ArrayLike, shrinkage: float | None = None
    ) -> MahalanobisPlus:
        """Estimate means and covariances from (N, D) features and their classes (N,).

        Defined for one class, for one image a class, and for more dimensions than images. Where no
        class has two different images, nothing is known of the spread within classes: the
        covariance is then the identity times the mean variance of all images, so that the nearest
        mean is that of the largest cosine.

        Args:
            features: of any length but 0.
            labels: one an image, of any type; equal ones are a class.
            shrinkage: weight of the identity in [0, 1]; None estimates it (Chen et al., 2010,
                "oracle approximating shrinkage", with N - C degrees of freedom), and is 0 with
                N - C >= 10 D, which gives the paper's form.
        """
        if shrinkage is not None and not 0.0 <= shrinkage <= 1.0:
            raise InputError(f"shrinkage: {shrinkage} is not in [0, 1]")
        rows = normalise(features, "features")
        which = _numbered(labels, len(rows))
        classes = TiedGaussians.fit(rows, which, shrinkage)
        if len(classes.centres) == 1 or classes.pooled:
            return cls(classes, None)
        return cls(classes, TiedGaussians.fit(rows, np.zeros_like(which), shrinkage))

    def distances(self, features: ArrayLike) -> Floats:
        """Squared distances of (M, D) features to each class, in the order of sorted labels."""
        return self.classes.distances(normalise(features, "features"))

    def score(self, features: ArrayLike) -> Floats:
        """Minus the squared distance of (M, D) features to the nearest class: (M,), at most 0."""
        rows = normalise(features, "features")
        scores = np.empty(len(rows), np.float32)
        for part in blocks(len(rows)):
            scores[part] = -self.classes.squared(rows[part]).min(axis=1)
        return scores

    def relative(self, features: ArrayLike) -> Floats:
        """`score` plus the squared distance to the background (Ren et al., 2021): (M,).

        Without a background, `score` is returned in its place.
        """
        if self.background is None:
            return self.score(features)
        rows = normalise(features, "features")
        scores = np.empty(len(rows), np.float32)
        for part in blocks(len(rows)):
            common = self.background.squared(rows[part])[:, 0]
            scores[part] = common - self.classes.squared(rows[part]).min(axis=1)
        return scores


@dataclass(frozen=True, eq=False)
class TiedGaussians:
    """Gaussians with one covariance, stored whitened.

    Rows minus `middle` (D,), times `whitening` (D, D), have Euclidean distances to `centres` (C, D)
    that are Mahalanobis distances. Without `middle`, small distances would be differences of large
    numbers.

    Attributes:
        means: (C, D) class means, not whitened.
        shrinkage: weight of the identity in the covariance, in [0, 1].
        pooled: whether no class has two different images: the variance is that of all images.
    """

    middle: Doubles
    whitening: Doubles
    centres: Doubles
    means: Doubles
    shrinkage: float
    pooled: bool

    @classmethod
    def fit(
        cls, rows: Floats, which: NDArray[np.int64], shrinkage: float | None = None
    ) -> TiedGaussians:
        """Estimate from rows (N, D) and their class numbers (N,), 0 to C - 1."""
        n, dim = rows.shape
        counts = np.bincount(which)
        means = np.zeros((len(counts), dim))
        for part in blocks(n):
            np.add.at(means, which[part], rows[part].astype(np.float64))
        means /= counts[:, None]
        middle = counts @ means / n
        within = _covariance(rows, means, which)
        weight = _shrinkage(within, n - len(counts)) if shrinkage is None else shrinkage
        pooled = bool(np.trace(within) <= LEAST_VARIANCE)  # of a squared length of 1
        if pooled:
            weight = 1.0
            within = _covariance(rows, middle[None], np.zeros_like(which))
        shrunk = (1.0 - weight) * within
        shrunk[np.diag_indices(dim)] += weight * np.trace(within) / dim
        variances, directions = np.linalg.eigh(shrunk)
        if variances[-1] <= LEAST_VARIANCE / dim:  # equal images
            variances = np.ones(dim)
        whitening = directions / np.sqrt(np.maximum(variances, LEAST_VARIANCE * variances[-1]))
        centres = (means - middle) @ whitening
        return cls(middle, whitening, centres, means, float(weight), pooled)

    def squared(self, rows: Floats) -> Doubles:
        """Squared distances of a block of unit rows (M, D) to each class: (M, C)."""
        check_widths(rows, self.whitening.T, "features", "those of the training images")
        white = (rows.astype(np.float64) - self.middle) @ self.whitening
        lengths = (white**2).sum(axis=1)[:, None] + (self.centres**2).sum(axis=1)
        squared: Doubles = np.maximum(lengths - 2.0 * (white @ self.centres.T), 0.0)
        return squared

    def distances(self, rows: Floats) -> Floats:
        """`squared` of any number of unit rows, in single precision."""
        found = np.empty((len(rows), len(self.centres)), np.float32)
        for part in blocks(len(rows)):
            found[part] = self.squared(rows[part])
        return found


def _covariance(rows: Floats, means: Doubles, which: NDArray[np.int64]) -> Doubles:
    """Return the mean of (x - mean)(x - mean)^T over all rows."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for part in blocks(len(rows)):
        rest = rows[part] - means[which[part]]
        total += rest.T @ rest
    covariance: Doubles = total / len(rows)
    return covariance


def _shrinkage(covariance: Doubles, freedom: int) -> float:
    """Weight of the identity: 0 with enough images, else that of Chen et al. (2010), equation 23.

    Without the terms in 2 / D, as in scikit-learn's `oas`.
    """
    dim = len(covariance)
    if freedom >= ENOUGH * dim:
        return 0.0
    squares, mean = float((covariance**2).mean()), float(np.trace(covariance)) / dim
    spread = (max(freedom, 0) + 1) * (squares - mean**2 / dim)
    return min((squares + mean**2) / spread, 1.0) if spread > 0 else 1.0


def _numbered(labels: ArrayLike, n: int) -> NDArray[np.int64]:
    """Return each image's class number, 0 to C - 1 in the order of the sorted labels."""
    classes = to_numpy(labels, "labels")
    if classes.shape != (n,):
        raise InputError(f"labels: shape {classes.shape} for {n} images")
    if n == 0:
        raise InputError("features: no training images")
    _, which = np.unique(classes, return_inverse=True)
    return which.astype(np.int64, copy=False)
