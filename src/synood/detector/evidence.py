"""Evidence from images: what the in-distribution images themselves look like to the encoder.

Three kinds, all on unit-length features u = f / |f| of the encoder that also reads the texts:

    distance    minus the Mahalanobis++ distance to the nearest class mean (Mueller and Hein, 2025)
    neighbour   cosine with the nearest training image (Sun et al., 2022, k = 1)
    head        largest logit of a linear classifier of the classes

The text's evidence, the log odds of equation 2, is the fourth. Each is standardised by the mean and
deviation that it has on in-distribution images which it has not learned from, then they are added.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from synood import scores
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from synood.settings import EvidenceSettings

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

PARTS = ("text", "distance", "neighbour", "head")
"""The kinds of evidence, in the order of `location`, `scale` and `weights`."""

BLOCK = 512  # images compared at a time, for memory's sake
TAIL = 1.6448536269514722  # deviations below the mean within which 95 % of a normal lies
"""Where a score is 0: this many deviations below the mean of in-distribution images."""


@dataclass(frozen=True, eq=False)
class ImageEvidence:
    """What the images of C classes look like, and how that is weighed against the text.

    All arrays are float32 but the classes of the neighbours. The fused value is the weighted sum of
    the standardised parts, itself standardised: 0 for the average in-distribution image, with
    deviation 1. A score is 2 T (value + T) with T = 1.645: the log odds, at even chances, of that
    normal against one of the same width whose mean lies 2 T below. So it is 0 where 95 % of a
    normal are kept, 5.4 for the average in-distribution image, and has no bound either way.

    Attributes:
        middle: (D,) mean of all unit-length features.
        whitening: (D, D) that makes the shared covariance the identity.
        centres: (C, D) class means less `middle`, whitened.
        neighbours: (K, D) unit-length features of training images; no rows if it has no weight.
        neighbour_classes: (K,) int64, their classes.
        head_weight: (C, D) of the head; (0, D) with one class, which needs none.
        head_bias: (C,), or (0,).
        location: (4,) mean of each of `PARTS` on in-distribution images.
        scale: (4,) their deviations, positive.
        weights: (4,) what each standardised part counts; 0 for one that there is not.
        fused: (2,) mean and deviation of the weighted sum.
    """

    middle: Floats
    whitening: Floats
    centres: Floats
    neighbours: Floats
    neighbour_classes: NDArray[np.int64]
    head_weight: Floats
    head_bias: Floats
    location: Floats
    scale: Floats
    weights: Floats
    fused: Floats

    def __post_init__(self) -> None:
        if self.centres.ndim != 2:
            raise InputError(f"image evidence: centres should be (C, D), not {self.centres.shape}")
        n_classes, dim = self.centres.shape
        expected = tensor_shapes(n_classes, dim, len(self.neighbours), len(self.head_bias))
        for name, (shape, kind) in expected.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != kind:
                raise InputError(
                    f"image evidence: {name} should be {kind} {shape}, "
                    f"found {array.dtype} {array.shape}"
                )
            if not np.isfinite(array).all():
                raise InputError(f"image evidence: {name} holds numbers that are not finite")
        if len(self.head_bias) not in (0, len(self.centres)):
            raise InputError("image evidence: the head has other classes than the means")
        if min(self.scale.min(), self.fused[1]) <= 0:
            raise InputError("image evidence: a deviation is not positive")
        if self.weights.min() < 0 or not self.weights.any():
            raise InputError("image evidence: weights must be 0 or more, and one of them above 0")
        known = self.neighbour_classes
        if known.size and not 0 <= known.min() <= known.max() < len(self.centres):
            raise InputError("image evidence: neighbour_classes names a class that there is not")

    @classmethod
    def fit(
        cls,
        features: ArrayLike,
        labels: ArrayLike,
        n_classes: int,
        *,
        text: ArrayLike | None = None,
        settings: EvidenceSettings | None = None,
    ) -> ImageEvidence:
        """Learn from features (N, D), not normalised, and their classes (N,), 0 to C - 1.

        `text` (N,) are the log odds that the text's evidence gives these images, NaN for images
        that it has learned from; without it the score is of image evidence alone. Every class needs
        an image. `fit_evidence` also returns the scores that the images have held out.
        """
        from synood.detector.fit_evidence import fit_evidence

        return fit_evidence(features, labels, n_classes, text=text, settings=settings)[0]

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.centres)

    @property
    def uses_text(self) -> bool:
        """Whether the text counts."""
        return bool(self.weights[0] > 0)

    def parts(self, features: ArrayLike) -> Doubles:
        """Return each image's distance, neighbour and head (N, 3), before they are standardised.

        What has no weight is 0. `features` (N, D) are the encoder's, not normalised.
        """
        rows = scores.normalise(features, "image features")
        found: Doubles = np.zeros((len(rows), 3))
        for start in range(0, len(rows), BLOCK):
            part = slice(start, start + BLOCK)
            found[part, 0] = -self.distances(rows[part]).min(axis=1)
            if len(self.neighbours):
                found[part, 1] = (rows[part] @ self.neighbours.T).max(axis=1)
            if len(self.head_bias):
                found[part, 2] = self.logits(rows[part]).max(axis=1)
        return found

    def scores(self, features: ArrayLike, text: ArrayLike | None = None) -> Floats:
        """Score images (N, D): (N,) float32 log odds, higher = more in-distribution.

        `text` (N,) are the log odds of the text's evidence, needed where `uses_text`.
        """
        return self.fuse(with_text(self.parts(features), text))

    def fuse(self, values: Doubles) -> Floats:
        """Weigh values (N, 4) of `PARTS`: (N,) float32 log odds."""
        total = self._weighed(values, self.weights.astype(np.float64))
        value = (total - float(self.fused[0])) / float(self.fused[1])
        odds: Floats = (2 * TAIL * (value + TAIL)).astype(np.float32)
        return odds

    def apart_from_text(self, values: Doubles) -> Floats | None:
        """Return what images alone say, of values (N, 4) of `PARTS`: (N,) float32, or None.

        The weighted mean of the standardised parts but the text: 0 for the average in-distribution
        image, higher = more in-distribution. None where the text does not count, since the score
        says the same then, and where nothing else does.
        """
        weights = self.weights.astype(np.float64)
        weights[0] = 0.0
        if not self.uses_text or not weights.any():
            return None
        return self._weighed(values, weights / weights.sum()).astype(np.float32)

    def distances(self, rows: Floats) -> Doubles:
        """Squared Mahalanobis distances of unit rows (N, D) to the class means: (N, C)."""
        # from the middle, since small distances would else be differences of large numbers
        white = (rows - self.middle.astype(np.float64)) @ self._whitening
        centres = self.centres.astype(np.float64)
        lengths = (white**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1)
        squared: Doubles = np.maximum(lengths - 2.0 * (white @ centres.T), 0.0)
        return squared

    def logits(self, rows: Floats) -> Floats:
        """Logits (N, C) of the head for unit rows (N, D); none, (N, 0), with one class."""
        logits: Floats = rows @ self.head_weight.T + self.head_bias
        return logits

    def labels(self, features: ArrayLike, text: ArrayLike | None = None) -> NDArray[np.int64]:
        """Return each image's class (N,): the one of most evidence.

        Distances, logits of the head and, where they count, the cosines with the class names `text`
        (N, C) are added, each standardised over the classes.
        """
        rows = scores.normalise(features, "image features")
        found = standardised(-self.distances(rows))
        if len(self.head_bias):
            found += standardised(self.logits(rows).astype(np.float64))
        if text is not None:
            found += standardised(np.asarray(text, np.float64))
        nearest: NDArray[np.int64] = found.argmax(axis=1)
        return nearest

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> ImageEvidence:
        """Make it of what `to_tensors` returned; a missing or unfit array is an `InputError`."""
        names = [part.name for part in fields(cls)]
        missing = [name for name in names if name not in tensors]
        if missing:
            raise InputError(f"image evidence: {missing[0]} is missing")
        return cls(**{name: tensors[name] for name in names})

    def _weighed(self, values: Doubles, weights: Doubles) -> Doubles:
        """Add standardised values (N, 4) by their weights (4,); one without may be NaN."""
        standard = (values - self.location) / self.scale
        total: Doubles = np.where(weights > 0, standard, 0.0) @ weights
        return total

    @cached_property
    def _whitening(self) -> Doubles:
        return self.whitening.astype(np.float64)


def tensor_shapes(
    n_classes: int, dim: int, neighbours: int, head: int
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the shape and kind of each array of an `ImageEvidence`."""
    count = len(PARTS)
    return {
        "middle": ((dim,), "float32"),
        "whitening": ((dim, dim), "float32"),
        "centres": ((n_classes, dim), "float32"),
        "neighbours": ((neighbours, dim), "float32"),
        "neighbour_classes": ((neighbours,), "int64"),
        "head_weight": ((head, dim), "float32"),
        "head_bias": ((head,), "float32"),
        "location": ((count,), "float32"),
        "scale": ((count,), "float32"),
        "weights": ((count,), "float32"),
        "fused": ((2,), "float32"),
    }


def with_text(parts: Doubles, text: ArrayLike | None) -> Doubles:
    """Put the text's log odds (N,), NaN if there are none, before the parts (N, 3): (N, 4)."""
    column = np.full(len(parts), np.nan) if text is None else np.asarray(text, np.float64)
    return np.column_stack([column, parts])


def standardised(values: Doubles) -> Doubles:
    """Bring each row of values of classes to mean 0 and deviation 1."""
    centred = values - values.mean(axis=1, keepdims=True)
    result: Doubles = centred / np.maximum(centred.std(axis=1, keepdims=True), 1e-12)
    return result
