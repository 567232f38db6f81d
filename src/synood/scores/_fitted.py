"""Scores that know the training images' features: neighbours, Gaussians, class means, residuals.

Features (N, P) are a classifier's penultimate ones, or any others. Covariances and neighbours are
scikit-learn's (the extra `bench`), loaded when something is fitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synood.errors import InputError
from synood.scores._rows import blocks, by_rows, check_widths, checked, normalise, soft_maximum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Doubles = NDArray[np.float64]

# Of the largest variance: features in single precision are off by 1e-7 of values that may be a
# hundred deviations from zero, so deviations below 1e-5 of the largest are rounding. They are
# raised to that, not left out: a pseudo-inverse calls an image near however far it is there.
LEAST_VARIANCE = 1e-10


@dataclass(frozen=True, eq=False)
class Neighbours:
    """KNN: minus the distance to the k-th nearest training image (Sun et al., ICML 2022).

    Features are brought to unit length, so a score lies in [-2, 0].
    """

    search: Any  # sklearn.neighbors.NearestNeighbors
    size: int

    @classmethod
    def fit(cls, features: ArrayLike) -> Neighbours:
        """Keep the training images' features (N, P)."""
        _need_sklearn()
        from sklearn.neighbors import NearestNeighbors

        rows = normalise(features, "features")
        return cls(NearestNeighbors(algorithm="brute").fit(rows), len(rows))

    def scores(self, features: ArrayLike, ks: Sequence[int]) -> NDArray[np.float32]:
        """Score (M, P) features for several k at once: (M, len(ks))."""
        for k in ks:
            if not 1 <= k <= self.size:
                raise InputError(f"k: {k} is not between 1 and the {self.size} training images")
        distances, _ = self.search.kneighbors(normalise(features, "features"), max(ks))
        scores: NDArray[np.float32] = -distances[:, [k - 1 for k in ks]].astype(np.float32)
        return scores


@dataclass(frozen=True, eq=False)
class Gaussians:
    """Mahalanobis distances to class means under one shared covariance (Lee et al., NeurIPS 2018).

    `whitening` (P, P) turns them into plain distances between `centres` (C, P) and images, once
    `middle` (P,) is taken off, without which small distances would be differences of large numbers.
    """

    middle: Doubles
    whitening: Doubles
    centres: Doubles

    @classmethod
    def fit(cls, features: ArrayLike, labels: ArrayLike) -> Gaussians:
        """Estimate means and covariance from (N, P) features and their classes (N,).

        With all labels equal this is the one background Gaussian of the relative form. Where the
        training images vary no more than rounding does, an image that does counts as very far.
        """
        _need_sklearn()
        from sklearn.covariance import EmpiricalCovariance

        rows, means, which = _class_means(features, labels)
        model = EmpiricalCovariance(assume_centered=True).fit(rows - means[which])
        variances, directions = np.linalg.eigh(model.covariance_)
        whitening = directions / np.sqrt(np.maximum(variances, LEAST_VARIANCE * variances[-1]))
        middle = rows.mean(axis=0)
        return cls(middle, whitening, (means - middle) @ whitening)

    def distances(self, features: ArrayLike) -> Doubles:
        """Squared distances of (M, P) features to each class: (M, C)."""
        rows = checked(features, "features").astype(np.float64)
        check_widths(rows, self.whitening.T, "features", "those of the training images")
        return _squared_distances((rows - self.middle) @ self.whitening, self.centres)

    def score(self, features: ArrayLike, background: Gaussians | None = None) -> NDArray[Any]:
        """Minus the least distance (M,); with a background, less the distance to it.

        The relative form is Ren et al., 2021: what all images share no longer counts.
        """
        rows = checked(features, "features")
        scores = np.empty(len(rows), np.float32)
        for part in blocks(len(rows)):
            nearest = self.distances(rows[part]).min(axis=1)
            common = background.distances(rows[part])[:, 0] if background else 0.0
            scores[part] = common - nearest
        return scores


@dataclass(frozen=True, eq=False)
class ClassMeans:
    """Similarity to the nearest class mean (C, P), by the angle or by a radial basis function.

    `spread` is the mean squared distance of training images to their class's mean.
    """

    means: Doubles
    spread: float

    @classmethod
    def fit(cls, features: ArrayLike, labels: ArrayLike) -> ClassMeans:
        """Average (N, P) features over their classes (N,)."""
        rows, means, which = _class_means(features, labels)
        return cls(means, float(((rows - means[which]) ** 2).sum(axis=1).mean()))

    def cosine(self, features: ArrayLike) -> NDArray[np.float32]:
        """Largest cosine with a class mean (Ngoc-Hieu et al., 2023), in [-1, 1]."""
        means = normalise(self.means, "class means")
        cosines: NDArray[np.float32] = (normalise(features) @ means.T).max(axis=1)
        return np.clip(cosines, -1.0, 1.0)

    def rbf(self, features: ArrayLike) -> NDArray[np.float32]:
        """Largest exp(-d^2 / (2 spread)) (van Amersfoort et al., ICML 2020, eq. 1), in [0, 1].

        Their length scale is learned with the network; here it is the training images' own spread.
        """
        if self.spread <= 0.0:
            raise InputError("class means: every training image lies on its mean; no length scale")
        rows = checked(features, "features")

        def score(block: NDArray[Any]) -> NDArray[Any]:
            squared = _squared_distances(block.astype(np.float64), self.means).min(axis=1)
            kernel: NDArray[Any] = np.exp(-squared / (2.0 * self.spread))
            return kernel

        return by_rows(rows, score)


@dataclass(frozen=True, eq=False)
class VirtualLogit:
    """ViM: the energy less a virtual logit for what the principal space leaves (Wang et al., 2022).

    `origin` (P,) is where the layer gives zero logits, `rest` (P, R) spans the directions left
    over, `alpha` scales a residual's length to the size of a logit.
    """

    origin: Doubles
    rest: Doubles
    alpha: float
    weight: Doubles
    bias: Doubles

    @classmethod
    def fit(
        cls,
        features: ArrayLike,
        weight: ArrayLike,
        bias: ArrayLike,
        principal: int | None = None,
    ) -> VirtualLogit:
        """Fit to the training images' features (N, P) and the last layer.

        `principal` directions make up the principal space; None is 1,000 of 2,048 or more features
        and 512 of fewer, as in the authors' benchmark.py, and half of 512 or fewer.
        """
        _need_sklearn()
        from sklearn.covariance import EmpiricalCovariance

        rows = checked(features, "features").astype(np.float64)
        layer = checked(weight, "weight").astype(np.float64)
        width = rows.shape[1]
        if principal is None:
            principal = 1000 if width >= 2048 else 512 if width > 512 else width // 2
        if not 0 <= principal < width:
            raise InputError(f"principal: {principal} of {width} features leave no residual")
        shift = np.asarray(bias, np.float64)
        origin = -np.linalg.pinv(layer) @ shift
        model = EmpiricalCovariance(assume_centered=True).fit(rows - origin)
        _, vectors = np.linalg.eigh(model.covariance_)  # ascending: the least varied come first
        rest = vectors[:, : width - principal]
        residual = np.linalg.norm((rows - origin) @ rest, axis=1).mean()
        largest = (rows @ layer.T + shift).max(axis=1).mean()
        return cls(origin, rest, float(largest / residual), layer, shift)

    def score(self, features: ArrayLike) -> NDArray[np.float32]:
        """Score (M, P) features: (M,) in the unit of a logit."""

        def score(block: NDArray[Any]) -> NDArray[Any]:
            residual = np.linalg.norm((block - self.origin) @ self.rest, axis=1)
            energy = soft_maximum(block @ self.weight.T + self.bias, 1.0).ravel()
            left: NDArray[Any] = energy - self.alpha * residual
            return left

        return by_rows(checked(features, "features"), score)


def _class_means(
    features: ArrayLike, labels: ArrayLike
) -> tuple[Doubles, Doubles, NDArray[np.int64]]:
    """Features as doubles, the mean of each class that occurs, and each image's row of it."""
    rows, classes = checked(features, "features").astype(np.float64), np.asarray(labels)
    if classes.shape != (len(rows),):
        raise InputError(f"labels: shape {classes.shape} for {len(rows)} images")
    if len(rows) == 0:
        raise InputError("features: no training image")
    _, which = np.unique(classes, return_inverse=True)
    sums = np.zeros((int(which.max()) + 1, rows.shape[1]))
    np.add.at(sums, which, rows)
    return rows, sums / np.bincount(which)[:, None], which


def _squared_distances(rows: Doubles, centres: Doubles) -> Doubles:
    """(N, C) from (N, R) and (C, R) without an array of N x C x R."""
    lengths = (rows**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1)
    squared: Doubles = np.maximum(lengths - 2.0 * (rows @ centres.T), 0.0)
    return squared


def _need_sklearn() -> None:
    from importlib.util import find_spec

    if find_spec("sklearn") is None:
        raise InputError("this system needs scikit-learn: pip install 'synood[bench]'")
