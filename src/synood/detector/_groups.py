"""Calibration scores by predicted class: each class with enough images has a threshold of its own.

Mondrian conformal prediction (Vovk et al., 2005): ranks are taken among images of one group, so
that what is promised holds for each group. Groups are made of predicted classes, as the true class
of a new image is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synood.detector.conformal import conformal_rank

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ClassGroups:
    """Ascending scores of each group, at the `tpr` that decides how many images a class needs.

    `own` are those of classes (by row) with enough images for a finite threshold, `rest` those of
    all other classes together; where these are too few as well, of all images.
    """

    own: Mapping[int, Floats]
    rest: Floats
    tpr: float

    @classmethod
    def of(cls, scores: Floats, labels: NDArray[np.int64], tpr: float) -> ClassGroups:
        """Divide ascending scores (N,) by the rows of their predicted classes (N,)."""
        counts = np.bincount(labels)
        enough = [row for row, count in enumerate(counts) if conformal_rank(int(count), tpr)]
        others = scores[~np.isin(labels, enough)]
        rest = others if conformal_rank(len(others), tpr) else scores
        return cls({row: scores[labels == row] for row in enough}, rest, tpr)

    def scores_of(self, label: int) -> Floats:
        """Return the ascending scores that an image of a predicted class is held against."""
        return self.own.get(label, self.rest)

    def threshold_of(self, label: int) -> float:
        """Return the threshold of a predicted class."""
        scores = self.scores_of(label)
        return float(scores[conformal_rank(len(scores), self.tpr) - 1])
