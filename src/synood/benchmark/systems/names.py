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

    from synood.benchmark.protocol.fit_inputs import Material
    from synood.settings import MiningSettings, ScoreSettings

CSP = Method(
    "csp",
    "CSP",
    "Chen et al., NeurIPS 2024, arXiv 2410.08611",
    "inductive",
    (ENCODER, NAMES, WORDS),
)
CSP_MAX_SIMILARITY = 0.95  # to any class name: clip-ViT-B16.py:26 of its code


def fit_mcm(material: Material, seed: int) -> Fitted:
    """Choose the temperature on validation images, else keep the published 1."""
    if not material.validation_ood:
        return Fitted(baselines.mcm_scorer(material.class_features, 1.0))
    choice = baselines.choose_mcm(
        material.class_features, material.validation, material.validation_ood
    )
    return Fitted(
        baselines.mcm_scorer(material.class_features, choice.temperature), choice.to_json()
    )


def fit_neglabel(material: Material, seed: int) -> Fitted:
    """Mine as the recipe says."""
    return _fit_mined(material, material.recipe.mining)


def fit_csp(material: Material, seed: int) -> Fitted:
    """Mine from the conjugated pool, prompts averaged over CSP's templates."""
    csp = replace(
        material.recipe.mining,
        pool="csp",
        prompt_set="csp",
        max_similarity=CSP_MAX_SIMILARITY,
    )
    return _fit_mined(material, csp)


def _fit_mined(material: Material, mining: MiningSettings) -> Fitted:
    mined = mine(material, mining)
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


def mine(material: Material, mining: MiningSettings) -> Mined:
    """Choose share of labels and temperature on validation images, else keep those given."""
    chosen: dict[str, object] = {}
    score, words = material.recipe.score, material.candidates(mining)
    classes = material.class_features_under(mining.prompt_set)
    if material.validation_ood:
        choice = baselines.choose_neglabel(
            words,
            material.class_names,
            classes,
            material.validation,
            material.validation_ood,
            mining,
            score,
        )
        chosen = choice.to_json()
        mining = replace(mining, share=choice.share or mining.share)
        score = replace(score, temperature=choice.temperature)
    kept = baselines.negatives_of_share(words, material.class_names, classes, mining, mining.share)
    return Mined(classes, words.features[kept], score, chosen)


SYSTEMS = (System(MCM, fit_mcm), System(NEGLABEL, fit_neglabel), System(CSP, fit_csp))
