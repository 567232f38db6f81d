"""Scores fitted to the training images' features: KNN, Mahalanobis, class means, ViM.

Features (N, P) are a classifier's penultimate ones in the published systems. Covariances are
computed by scikit-learn (the extra `bench`), imported on the first fit; neighbours and class means
need NumPy alone.
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

# As a fraction of the largest variance. Features in single precision have errors of 1e-7 of values
# that may be a hundred deviations from zero, so deviations below 1e-5 of the largest are rounding.
# They are raised to that, not dropped: a pseudo-inverse would ignore any distance along them.
LEAST_VARIANCE = 1e-10


TRAINING_ROWS = 16_384  # training images that a block is compared with at a time: 32 MB


@dataclass(frozen=True, eq=False)
class Neighbours:
    """KNN: the k-th nearest training image by the angle (Sun et al., ICML 2022).

    `rows` (N, P) are the training images' features, of unit length.
    """

    rows: NDArray[np.float32]

    @classmethod
    def fit(cls, features: ArrayLike) -> Neighbours:
        """Store the training images' features (N, P), of any length but 0."""
        return cls(normalise(features, "features"))

    @property
    def size(self) -> int:
        """Number of training images."""
        return len(self.rows)

    def scores(self, features: ArrayLike, ks: Sequence[int]) -> NDArray[np.float32]:
        """Minus the distance between unit vectors, in [-2, 0], as in the paper.

        (M, P) features and each k in `ks`: (M, len(ks)).
        """
        distances: NDArray[np.float32] = np.sqrt(
            np.maximum(2.0 - 2.0 * self.cosines(features, ks), 0)
        )
        return -distances

    def cosine(self, features: ArrayLike, k: int = 1) -> NDArray[np.float32]:
        """Cosine similarity of (M, P) features to the k-th nearest training image: (M,)."""
        return self.cosines(features, [k])[:, 0]

    def cosines(self, features: ArrayLike, ks: Sequence[int]) -> NDArray[np.float32]:
        """`cosine` for each k in `ks`: (M, len(ks)) in [-1, 1]; ranks images as `scores` does."""
        for k in ks:
            if not 1 <= k <= self.size:
                raise InputError(f"k: {k} is not between 1 and the {self.size} training images")
        images = normalise(features, "features")
        check_widths(images, self.rows, "features", "those of the training images")
        found = np.empty((len(images), len(ks)), np.float32)
        for part in blocks(len(images)):
            nearest = _largest_products(images[part], self.rows, max(ks))
            found[part] = nearest[:, [k - 1 for k in ks]]
        return np.clip(found, -1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Gaussians:
    """Mahalanobis distances to class means under one shared covariance (Lee et al., NeurIPS 2018).

    Features minus `middle` (P,), times `whitening` (P, P), have Euclidean distances to `centres`
    (C, P) that are Mahalanobis distances. Without `middle`, small distances would be differences of
    large numbers.
    """

    middle: Doubles
    whitening: Doubles
    centres: Doubles

    @classmethod
    def fit(cls, features: ArrayLike, labels: ArrayLike) -> Gaussians:
        """Estimate means and covariance from (N, P) features and their classes (N,).

        Equal labels give the background Gaussian of the relative form. An image that varies in a
        direction in which the training images do not is very far away.
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
        """Minus the distance to the nearest class (M,), plus that to a background if given.

        The relative form is that of Ren et al., 2021.
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
    """Similarity to the nearest class mean (C, P): cosine or radial basis function.

    The mean of a class is that of its features as they are: give features of unit length for the
    mean direction, in which each image counts the same.

    `spread` is the mean squared distance of the training images to their class means.
    """

    means: Doubles
    spread: float

    @classmethod
    def fit(cls, features: ArrayLike, labels: ArrayLike) -> ClassMeans:
        """Average (N, P) features by their classes (N,)."""
        rows, means, which = _class_means(features, labels)
        return cls(means, float(((rows - means[which]) ** 2).sum(axis=1).mean()))

    def cosine(self, features: ArrayLike) -> NDArray[np.float32]:
        """Largest cosine similarity to a class mean (Ngoc-Hieu et al., 2023), in [-1, 1]."""
        means = normalise(self.means, "class means")
        rows = normalise(features, "features")
        check_widths(rows, means, "features", "those of the training images")
        cosines = by_rows(rows, lambda block: (block @ means.T).max(axis=1))
        return np.clip(cosines, -1.0, 1.0)

    def rbf(self, features: ArrayLike) -> NDArray[np.float32]:
        """Largest exp(-d^2 / (2 spread)) (van Amersfoort et al., ICML 2020, eq. 1), in [0, 1].

        The paper learns the length scale with the network; here it is `spread`.
        """
        if self.spread <= 0.0:
            raise InputError(
                "class means: every training image lies on its class mean; no length scale"
            )
        rows = checked(features, "features")

        def score(block: NDArray[Any]) -> NDArray[Any]:
            squared = _squared_distances(block.astype(np.float64), self.means).min(axis=1)
            kernel: NDArray[Any] = np.exp(-squared / (2.0 * self.spread))
            return kernel

        return by_rows(rows, score)


@dataclass(frozen=True, eq=False)
class VirtualLogit:
    """ViM: energy minus a virtual logit, the norm of the residual (Wang et al., 2022).

    The residual is what remains of a feature outside the principal space. `origin` (P,) is the
    point at which the layer gives zero logits, `rest` (P, R) spans the residual space, `alpha`
    scales the residual's norm to the size of a logit.
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

        `principal` is the dimension of the principal space. None is 1,000 for 2,048 features or
        more and 512 below, as in the authors' benchmark.py, and half of 512 features or fewer.
        """
        _need_sklearn()
        from sklearn.covariance import EmpiricalCovariance

        rows = checked(features, "features").astype(np.float64)
        layer = checked(weight, "weight").astype(np.float64)
        width = rows.shape[1]
        if principal is None:
            principal = 1000 if width >= 2048 else 512 if width > 512 else width // 2
        if not 0 <= principal < width:
            raise InputError(
                f"principal: {principal} is not in [0, {width}), below the number of features"
            )
        shift = to_numpy(bias, "bias").astype(np.float64)
        origin = -np.linalg.pinv(layer) @ shift
        model = EmpiricalCovariance(assume_centered=True).fit(rows - origin)
        _, vectors = np.linalg.eigh(model.covariance_)  # ascending variance
        rest = vectors[:, : width - principal]
        residual = np.linalg.norm((rows - origin) @ rest, axis=1).mean()
        largest = (rows @ layer.T + shift).max(axis=1).mean()
        return cls(origin, rest, float(largest / residual), layer, shift)

    def score(self, features: ArrayLike) -> NDArray[np.float32]:
        """Score (M, P) features: (M,), in the unit of logits."""

        def score(block: NDArray[Any]) -> NDArray[Any]:
            residual = np.linalg.norm((block - self.origin) @ self.rest, axis=1)
            energy = logsumexp(block @ self.weight.T + self.bias, 1.0)
            vim: NDArray[Any] = energy - self.alpha * residual
            return vim

        return by_rows(checked(features, "features"), score)


def _class_means(
    features: ArrayLike, labels: ArrayLike
) -> tuple[Doubles, Doubles, NDArray[np.int64]]:
    """Return features as doubles, the mean of each class, and each image's row among the means."""
    rows, classes = checked(features, "features").astype(np.float64), to_numpy(labels, "labels")
    if classes.shape != (len(rows),):
        raise InputError(f"labels: shape {classes.shape} for {len(rows)} images")
    if len(rows) == 0:
        raise InputError("features: no training images")
    _, which = np.unique(classes, return_inverse=True)
    sums = np.zeros((int(which.max()) + 1, rows.shape[1]))
    np.add.at(sums, which, rows)
    return rows, sums / np.bincount(which)[:, None], which


def _largest_products(
    block: NDArray[np.float32], rows: NDArray[np.float32], k: int
) -> NDArray[np.float32]:
    """Return the k largest inner products of each row of (B, P) with those of (N, P), descending.

    At most `TRAINING_ROWS` products of an image are held at a time.
    """
    best = np.empty((len(block), 0), np.float32)
    for start in range(0, len(rows), TRAINING_ROWS):
        products = np.concatenate([best, block @ rows[start : start + TRAINING_ROWS].T], axis=1)
        best = -np.partition(-products, min(k, products.shape[1]) - 1, axis=1)[:, :k]
    descending: NDArray[np.float32] = -np.sort(-best, axis=1)
    return descending


def _squared_distances(rows: Doubles, centres: Doubles) -> Doubles:
    """(N, R), (C, R) -> (N, C), without an array of N x C x R."""
    lengths = (rows**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1)
    squared: Doubles = np.maximum(lengths - 2.0 * (rows @ centres.T), 0.0)
    return squared


def _need_sklearn() -> None:
    from importlib.util import find_spec

    if find_spec("sklearn") is None:
        raise InputError("this system needs scikit-learn: pip install 'synood[bench]'")
