"""Negative labels mined for a system, with settings chosen on validation images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from synood.benchmark.protocol import baselines
from synood.benchmark.protocol.system import Fitted

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.settings import MiningSettings, ScoreSettings


@dataclass(frozen=True, eq=False)
class Mined:
    """Class names (C, D), mined negatives (M, D), how to score with them, what was chosen.

    `rows` (M,) are the negatives' rows among the candidate words.
    """

    classes: NDArray[np.float32]
    negatives: NDArray[np.float32]
    score: ScoreSettings
    chosen: Mapping[str, object]
    rows: NDArray[np.int64]


def mine(inputs: FitInputs, mining: MiningSettings) -> Mined:
    """Choose the fraction of labels and the temperature on validation images, else keep both."""
    chosen: dict[str, object] = {}
    score, words = inputs.recipe.score, inputs.candidates(mining)
    classes = inputs.class_features_under(mining.prompt_set)
    if inputs.validation_ood:
        choice = baselines.choose_neglabel(
            words,
            inputs.class_names,
            classes,
            inputs.validation,
            inputs.validation_ood,
            mining,
            score,
        )
        chosen = choice.to_json()
        mining = replace(mining, share=choice.share or mining.share)
        score = replace(score, temperature=choice.temperature)
    kept = baselines.negatives_of_share(words, inputs.class_names, classes, mining, mining.share)
    return Mined(classes, words.features[kept], score, chosen, kept)


def fit_mined(inputs: FitInputs, mining: MiningSettings) -> Fitted:
    """Score as NegLabel with the labels that `mining` finds."""
    mined = mine(inputs, mining)
    scorer = baselines.neglabel_scorer(mined.classes, mined.negatives, mined.score)
    chosen = {**mined.chosen, "negatives": len(mined.negatives)}
    return Fitted(scorer, chosen, mined.negatives.size)


def nothing_kept(title: str) -> str:
    """Return the message of a system whose rule keeps no word."""
    return f"{title}: no candidate word is left to be a negative label; give more words"
