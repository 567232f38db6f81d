"""Systems that compare an image with names: those of the classes, and of what they are not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from synood.benchmark.protocol import baselines
from synood.benchmark.protocol.methods import ENCODER, MCM, NAMES, NEGLABEL, WORDS, Method
from synood.benchmark.protocol.system import Fitted, System

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.settings import MiningSettings, ScoreSettings

CSP = Method(
    "csp",
    "CSP",
    "Chen et al., NeurIPS 2024, arXiv 2410.08611",
    "inductive",
    (ENCODER, NAMES, WORDS),
)
CSP_MAX_SIMILARITY = 0.95  # to any class name: clip-ViT-B16.py:26 of its code


def fit_mcm(inputs: FitInputs, seed: int) -> Fitted:
    """Choose the temperature on validation images, else keep the published 1."""
    if not inputs.validation_ood:
        return Fitted(baselines.mcm_scorer(inputs.class_features, 1.0))
    choice = baselines.choose_mcm(inputs.class_features, inputs.validation, inputs.validation_ood)
    return Fitted(baselines.mcm_scorer(inputs.class_features, choice.temperature), choice.to_json())


def fit_neglabel(inputs: FitInputs, seed: int) -> Fitted:
    """Mine as the recipe says."""
    return _fit_mined(inputs, inputs.recipe.mining)


def fit_csp(inputs: FitInputs, seed: int) -> Fitted:
    """Mine from the conjugated pool, prompts averaged over CSP's templates."""
    csp = replace(
        inputs.recipe.mining,
        pool="csp",
        prompt_set="csp",
        max_similarity=CSP_MAX_SIMILARITY,
    )
    return _fit_mined(inputs, csp)


def _fit_mined(inputs: FitInputs, mining: MiningSettings) -> Fitted:
    mined = mine(inputs, mining)
    scorer = baselines.neglabel_scorer(mined.classes, mined.negatives, mined.score)
    chosen = {**mined.chosen, "negatives": len(mined.negatives)}
    return Fitted(scorer, chosen, mined.negatives.size)


@dataclass(frozen=True, eq=False)
class Mined:
    """Class names (C, D), mined negatives (M, D), how to score with them, what was chosen."""

    classes: NDArray[np.float32]
    negatives: NDArray[np.float32]
    score: ScoreSettings
    chosen: Mapping[str, object]


def mine(inputs: FitInputs, mining: MiningSettings) -> Mined:
    """Choose share of labels and temperature on validation images, else keep those given."""
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
    return Mined(classes, words.features[kept], score, chosen)


SYSTEMS = (System(MCM, fit_mcm), System(NEGLABEL, fit_neglabel), System(CSP, fit_csp))
