"""Systems that compare an image with names: those of the classes, and of what they are not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from synood.benchmark import baselines
from synood.benchmark.methods import MCM, NEGLABEL
from synood.benchmark.systems.interface import Fitted, System

if TYPE_CHECKING:
    from synood.benchmark.material import Material


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
    """Choose share of labels and temperature on validation images, else keep the recipe's."""
    recipe, chosen = material.recipe, {}
    mining, score = recipe.mining, recipe.score
    if material.validation_ood:
        choice = baselines.choose_neglabel(
            material.words,
            material.class_names,
            material.class_features,
            material.validation,
            material.validation_ood,
            mining,
            score,
        )
        chosen = choice.to_json()
        mining = replace(mining, share=choice.share or mining.share)
        score = replace(score, temperature=choice.temperature)
    kept = baselines.negatives_of_share(
        material.words, material.class_names, material.class_features, mining, mining.share
    )
    negatives = material.words.features[kept]
    scorer = baselines.neglabel_scorer(material.class_features, negatives, score)
    return Fitted(scorer, {**chosen, "negatives": len(kept)}, negatives.size)


SYSTEMS = (System(MCM, fit_mcm), System(NEGLABEL, fit_neglabel))
