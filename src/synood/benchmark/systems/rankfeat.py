"""RankFeat: the energy after feature maps lost their largest singular value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.benchmark.protocol.methods import Method
from synood.benchmark.protocol.system import Fitted, System

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.benchmark.protocol.fit_inputs import FitInputs

RANKFEAT = Method(
    "rankfeat",
    "RankFeat",
    "Song, Sebe and Wang, NeurIPS 2022, arXiv 2209.08590: the last two stages together",
    "inductive",
    ("a convolutional classifier trained on the in-distribution classes",),
)


def fit_rankfeat(inputs: FitInputs, seed: int) -> Fitted:
    """Nothing to fit; the temperature is 1, as published."""
    from synood.models.feature_maps import LastStage  # loads torch

    stage = LastStage.of(inputs.classifier)

    def score(encoded: EncodedSet) -> NDArray[np.float32]:
        parts = [scores.energy(stage.rankfeat(px)) for px in encoded.require_images().pixels()]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    return Fitted(score)


SYSTEMS = (System(RANKFEAT, fit_rankfeat),)
