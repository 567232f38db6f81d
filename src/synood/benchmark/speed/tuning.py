"""The tuning of the paper's run at its size, on random features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synood.settings import NegativeSettings, ProjectionSettings
from synood.tuning.negatives import tune_negatives
from synood.tuning.projection import tune_projection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synood.tuning.loop import Callback
    from synood.tuning.projection import Projection

PAPER = {"images": 50_000, "classes": 1_000, "negatives": 5_620, "dim": 512}
"""ImageNet's 1,000 classes x 50 images, each redrawn; negatives that belong to a drawn image."""


@dataclass(frozen=True, eq=False)
class TuningWork:
    """What both tunings take: n images, n synthetic ones, C class names and M' used negatives.

    At `PAPER` size that is 100,000 features of 512 against 6,620 texts: 2,346 steps of the
    projection and 1,955 of the negatives.
    """

    images: NDArray[np.float32]  # (n, D), as all of these
    synthetic: NDArray[np.float32]
    classes: NDArray[np.float32]  # (C, D)
    negatives: NDArray[np.float32]  # (M', D)
    targets: NDArray[np.int64]  # (n,), of the images, below C
    synthetic_targets: NDArray[np.int64]  # (n,), below M'

    @classmethod
    def random(cls, images: int, classes: int, negatives: int, dim: int) -> TuningWork:
        """Draw unit features, the same in every call."""
        rng = np.random.default_rng(0)

        def unit(rows: int) -> NDArray[np.float32]:
            features = rng.standard_normal((rows, dim), np.float32)
            features /= np.linalg.norm(features, axis=1, keepdims=True)
            return features

        return cls(
            unit(images),
            unit(images),
            unit(classes),
            unit(negatives),
            rng.integers(classes, size=images),
            rng.integers(negatives, size=images),
        )

    def tune_projection(self, callback: Callback | None = None) -> Projection:
        """Tune the projection with the paper's settings."""
        return tune_projection(
            self.images,
            self.targets,
            self.synthetic,
            self.synthetic_targets,
            self.classes,
            self.negatives,
            ProjectionSettings(),
            seed=0,
            callback=callback,
        )

    def tune_negatives(self, callback: Callback | None = None) -> NDArray[np.float32]:
        """Tune the negatives with the paper's settings; returns (M', D)."""
        return tune_negatives(
            self.synthetic,
            self.synthetic_targets,
            self.negatives,
            NegativeSettings(),
            seed=0,
            callback=callback,
        )
