"""Scores, classes and explanations of images from their features."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from synood import scores
from synood.arrays import to_numpy
from synood.detector.evidence import with_text
from synood.detector.explanation import Explanation, Match, nearest_texts
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from synood.detector.evidence import ImageEvidence
    from synood.settings import ScoreSettings
    from synood.tuning.projection import Projection


class Scored(NamedTuple):
    """One image's score, the row of its class, and what images alone say (see `Prediction`)."""

    score: float
    row: int
    image_evidence: float | None


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
        return self._scores(features, self._projected(features))[0]

    def scored(self, features: Sequence[NDArray[np.float32]]) -> list[Scored]:
        """Return each feature's score, the row of its nearest class and its image evidence."""
        plain = np.stack(features)
        rows = self._projected(plain)
        found, apart = self._scores(plain, rows)
        nearest = self._nearest(plain, rows)
        looks = [None] * len(rows) if apart is None else apart.tolist()
        return [*map(Scored, found.tolist(), nearest.tolist(), looks)]

    def _scores(
        self, features: ArrayLike, projected: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Return scores (N,) and what images alone say (N,), if that is another thing.

        `projected` (N, D) are the features as texts are compared with.
        """
        evidence = self.image_evidence
        if evidence is None:
            return self._texts.log_odds(projected), None
        text = self._texts.log_odds(projected) if evidence.uses_text else None
        values = with_text(evidence.parts(features), text)
        return evidence.fuse(values), evidence.apart_from_text(values)

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
        # without texts, class means stand where the class names' features would
        names: list[tuple[Match, ...]] = [()] * len(rows)
        if self.negative_prompts:
            names = nearest_texts(rows, self.class_features, self.class_names)
        found = zip(
            names,
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
