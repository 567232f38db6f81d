"""Fitting image evidence: means, covariance and head, and values of images that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from synood import scores
from synood.arrays import to_numpy
from synood.detector.evidence import PARTS, ImageEvidence, with_text
from synood.errors import InputError
from synood.settings import EvidenceSettings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]
    Rows = NDArray[np.int64]

NEIGHBOURS = 10_000  # images kept to be near to, evenly over the classes; 20 MB with CLIP
ENOUGH = 4  # images with values of evidence that has not seen them, to take mean and deviation of
LEAST = 1e-3  # deviation as a fraction of what is put in its place without such images


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What images (N,) are given by a detector that has not seen them, float32, for calibration.

    `image_evidence` is what images alone say (see `Prediction`), None where that is nothing apart.
    `cross_fitted` is whether it was another detector for each fold, made from the other images.
    """

    scores: Floats
    image_evidence: Floats | None = None
    cross_fitted: bool = False

    def __len__(self) -> int:
        return len(self.scores)

    def only(self, kept: NDArray[np.bool_]) -> HeldOut:
        """Return those of the images that the mask (N,) keeps."""
        looks = self.image_evidence
        return replace(
            self,
            scores=self.scores[kept],
            image_evidence=None if looks is None else looks[kept],
        )

    def finite(self) -> HeldOut:
        """Return those of the images that have a score."""
        return self.only(np.isfinite(self.scores))


def fit_evidence(
    features: ArrayLike,
    labels: ArrayLike,
    n_classes: int,
    *,
    text: ArrayLike | None = None,
    settings: EvidenceSettings | None = None,
) -> tuple[ImageEvidence, HeldOut]:
    """Fit image evidence, as `ImageEvidence.fit` says; also return the images' held-out scores.

    These are from evidence fitted without the image, fold by fold, and fit for calibration: NaN for
    the only image of its class and where the text has no value.
    """
    chosen = settings or EvidenceSettings(distance=1.0, head=1.0)
    rows, which = checked_images(features, labels, n_classes)
    column = None if text is None else to_numpy(text, "text").astype(np.float64)
    if column is not None and column.shape != (len(rows),):
        raise InputError(f"text: {column.shape} log odds for {len(rows)} images")
    weights = _weights(chosen, has_text=column is not None, n_classes=n_classes)
    arrays = _fitted(rows, which, n_classes, chosen)
    held_out = with_text(_cross_fitted(rows, which, n_classes, chosen), column)
    seen = with_text(_plain(arrays).parts(rows), column)
    location, scale = _standard(held_out, seen, _beside(arrays, rows, which))
    total = np.where(weights > 0, (held_out - location) / scale, 0.0) @ weights
    usable = total[np.isfinite(total)]
    if len(usable) >= ENOUGH and usable.std() > 0:
        centre, spread = usable.mean(), usable.std()
    else:
        centre, spread = 0.0, float(np.sqrt((weights**2).sum()))
    evidence = ImageEvidence(
        **arrays,
        location=location.astype(np.float32),
        scale=scale.astype(np.float32),
        weights=weights.astype(np.float32),
        fused=np.array([centre, spread], np.float32),
    )
    looks = evidence.apart_from_text(held_out)
    return evidence, HeldOut(evidence.fuse(held_out), looks, cross_fitted=True)


def checked_images(features: ArrayLike, labels: ArrayLike, n_classes: int) -> tuple[Floats, Rows]:
    """Return unit-length features (N, D) and classes (N,); refuse what does not fit together."""
    rows = scores.normalise(features, "features")
    which = to_numpy(labels, "labels")
    if which.shape != (len(rows),) or which.dtype.kind not in "iu":
        raise InputError(f"labels: need one whole number for each of {len(rows)} images")
    if len(which) and not 0 <= which.min() <= which.max() < n_classes:
        raise InputError(f"labels: must lie in 0 to {n_classes - 1}")
    empty = np.flatnonzero(np.bincount(which, minlength=n_classes) == 0)
    if len(empty):
        raise InputError(f"labels: class {empty[0]} has no image; add some or drop the class")
    return rows, which.astype(np.int64, copy=False)


def folds(labels: Rows, count: int) -> Rows:
    """Deal images (N,) into `count` folds, each class as evenly as can be: (N,) fold numbers.

    Images that follow each other stay together where a class has more than `count` of them: frames
    of one film or shots of one burst would else vouch for each other. Classes begin in turn with
    each fold, so that folds are of one size even where classes have an image or two.
    """
    fold = np.empty(len(labels), np.int64)
    for number, one in enumerate(np.unique(labels)):
        members = np.flatnonzero(labels == one)
        parts = min(count, len(members))
        fold[members] = (np.arange(len(members)) * parts // len(members) + number) % count
    return fold


def evenly(labels: Rows, count: int) -> Rows:
    """Return ascending rows of at most `count` images of each class, evenly spaced."""
    taken = []
    for one in np.unique(labels):
        members = np.flatnonzero(labels == one)
        kept = min(count, len(members))
        taken.append(members[np.arange(kept) * len(members) // kept])
    return np.sort(np.concatenate(taken))


def _weights(settings: EvidenceSettings, *, has_text: bool, n_classes: int) -> Doubles:
    """Return the weights of the parts that there are.

    A single class has no head, and its name does not count beside its images: on validation it
    said nothing of which of them are normal.
    """
    weights = np.array([getattr(settings, name) for name in PARTS], np.float64)
    weights[0] *= has_text
    weights[3] *= n_classes > 1
    if n_classes == 1 and weights[1:].any():
        weights[0] = 0.0
    if not weights.any():
        weights[1] = 1.0  # nothing else was asked for that there is
    return weights


def _fitted(
    rows: Floats, which: Rows, n_classes: int, settings: EvidenceSettings
) -> dict[str, NDArray[Any]]:
    """Return the arrays of an `ImageEvidence` that come from images alone."""
    gaussians = scores.MahalanobisPlus.fit(rows, which).classes
    dim = rows.shape[1]
    kept = np.zeros(0, np.int64)
    if settings.neighbour > 0:
        kept = evenly(which, max(1, NEIGHBOURS // n_classes))
    weight, bias = np.zeros((0, dim), np.float32), np.zeros(0, np.float32)
    if settings.head > 0 and n_classes > 1:
        weight, bias = _head(rows, which, n_classes, settings.head_penalty)
    return {
        "middle": gaussians.middle.astype(np.float32),
        "whitening": gaussians.whitening.astype(np.float32),
        "centres": gaussians.centres.astype(np.float32),
        "neighbours": rows[kept],
        "neighbour_classes": which[kept],
        "head_weight": weight,
        "head_bias": bias,
    }


def _head(rows: Floats, which: Rows, n_classes: int, penalty: float) -> tuple[Floats, Floats]:
    import torch

    from synood.models.classifier import fit_linear

    x, y = torch.from_numpy(rows.astype(np.float64)), torch.from_numpy(which)
    weight, bias = fit_linear(x, y, n_classes, penalty)
    return weight.numpy(), bias.numpy()


def _plain(arrays: dict[str, NDArray[Any]]) -> ImageEvidence:
    """Return evidence whose parts can be read but are not standardised yet."""
    ones = np.ones(len(PARTS), np.float32)
    fused = np.array([0.0, 1.0], np.float32)
    return ImageEvidence(**arrays, location=0 * ones, scale=ones, weights=ones, fused=fused)


def _cross_fitted(rows: Floats, which: Rows, n_classes: int, settings: EvidenceSettings) -> Doubles:
    """Return parts (N, 3) of each image from evidence fitted on the other folds.

    NaN for the only image of its class, which nothing is left to compare with.
    """
    values = np.full((len(rows), 3), np.nan)
    known = np.bincount(which, minlength=n_classes)[which] > 1
    fold = folds(which, max(2, settings.folds))
    for number in np.unique(fold[known]):
        rest, out = fold != number, (fold == number) & known
        present, there = np.unique(which[rest], return_inverse=True)
        arrays = _fitted(rows[rest], there, len(present), settings)
        values[out] = _plain(arrays).parts(rows[out])
    return values


def _beside(arrays: dict[str, NDArray[Any]], rows: Floats, which: Rows) -> Doubles:
    """Return what parts (4,) are for an image that is just outside: its own class left out.

    With one class, what they are for a feature at right angles to the class mean.
    """
    evidence = _plain(arrays)
    if evidence.n_classes == 1:
        across = float(np.trace(evidence.whitening.astype(np.float64) @ evidence.whitening.T))
        return np.array([0.0, -2.0 * across / len(evidence.middle), 0.0, 0.0])
    own = np.arange(len(rows)), which
    distances, logits = evidence.distances(rows), evidence.logits(rows)
    distances[own] = np.inf
    outside = np.array([0.0, -distances.min(axis=1).mean(), 0.0, 0.0])
    if len(evidence.neighbours):
        cosines = rows @ evidence.neighbours.T
        cosines[which[:, None] == evidence.neighbour_classes] = -1.0
        outside[2] = cosines.max(axis=1).mean()
    if logits.shape[1]:
        logits[own] = -np.inf
        outside[3] = logits.max(axis=1).mean()
    return outside


def _standard(held_out: Doubles, seen: Doubles, outside: Doubles) -> tuple[Doubles, Doubles]:
    """Return mean and deviation of each part on in-distribution images, each (4,).

    Where there are too few images that the evidence has not seen, new ones are taken to lie half
    way between those it has seen and those just outside, with a quarter of the way as deviation.
    """
    known = np.isfinite(held_out)
    inside = np.array([column[np.isfinite(column)].mean() if np.isfinite(column).any() else 0.0
                       for column in seen.T])  # fmt: skip
    way = np.maximum(np.abs(inside - outside), 1e-6)
    location, scale = (inside + outside) / 2, way / 4
    nothing = ~np.isfinite(seen).any(axis=0)  # a part that there is not
    location[nothing], scale[nothing] = 0.0, 1.0
    for part in range(len(PARTS)):
        values = held_out[known[:, part], part]
        if len(values) >= ENOUGH:
            location[part] = values.mean()
            scale[part] = max(float(values.std()), LEAST * way[part])
    return location, scale
