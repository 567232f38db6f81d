"""Scores, classes and explanations of images from their features."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.arrays import to_numpy
from synood.detector.explanation import Explanation, nearest_texts
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from synood.detector.evidence import ImageEvidence
    from synood.settings import ScoreSettings
    from synood.tuning.projection import Projection


@dataclass(frozen=True, eq=False)
class Scorer:
    """The parts of a detector that a score is made of, under their names in `OODDetector`."""

    class_names: tuple[str, ...]
    class_features: NDArray[np.float32]
    negative_prompts: tuple[str, ...]
    negative_features: NDArray[np.float32]
    projection: Projection | None
    settings: ScoreSettings
    image_evidence: ImageEvidence | None

    def log_odds(self, features: ArrayLike) -> NDArray[np.float32]:
        """Score image features (N, D): (N,)."""
        return self._log_odds(features, self._projected(features))

    def scored(self, features: Sequence[NDArray[np.float32]]) -> list[tuple[float, int]]:
        """Return each feature's score and the row of its nearest class."""
        plain = np.stack(features)
        rows = self._projected(plain)
        found, nearest = self._log_odds(plain, rows), self._nearest(plain, rows)
        return [*zip(found.tolist(), nearest.tolist(), strict=True)]

    def _log_odds(self, features: ArrayLike, projected: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the scores of images from their features and these as texts are compared with."""
        if self.image_evidence is None:
            return self._texts.log_odds(projected)
        text = self._texts.log_odds(projected) if self.image_evidence.uses_text else None
        return self.image_evidence.scores(features, text)

    def _nearest(self, features: ArrayLike, projected: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the row of each image's class: (N,)."""
        cosines = scores.cosine_similarity(projected, self.class_features)
        if self.image_evidence is None:
            nearest: NDArray[np.int64] = cosines.argmax(axis=1)
            return nearest
        text = cosines if self.image_evidence.uses_text else None
        return self.image_evidence.labels(features, text)

    def explained(self, features: Sequence[NDArray[np.float32]]) -> list[Explanation]:
        """Return what each image is nearest to."""
        plain = np.stack(features)
        rows = self._projected(plain)
        nearest: list[str | None] = [None] * len(rows)
        if self.image_evidence is not None:
            nearest = [self.class_names[row] for row in self.image_evidence.labels(plain)]
        found = zip(
            nearest_texts(rows, self.class_features, self.class_names),
            nearest_texts(rows, self.negative_features, self.negative_prompts),
            nearest,
            strict=True,
        )
        return [Explanation(*parts) for parts in found]

    def _projected(self, features: ArrayLike) -> NDArray[np.float32]:
        """Return image features (N, D) as they are compared with texts."""
        rows = to_numpy(features, "image features").astype(np.float32, copy=False)
        dim = self.class_features.shape[1]
        if rows.ndim != 2 or rows.shape[1] != dim:
            raise InputError(f"image features: shape {rows.shape} is not (N, {dim})")
        return rows if self.projection is None else self.projection.apply(rows)

    @cached_property
    def _texts(self) -> scores.NegLabelScorer:
        chosen = self.settings
        return scores.NegLabelScorer.from_features(
            self.class_features,
            self.negative_features,
            chosen.temperature,
            chosen.groups,
            chosen.seed,
        )
