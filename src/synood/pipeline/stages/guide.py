"""The encoder's margin as what guides a run's painting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.files import fingerprint
from synood.pipeline.executors.tasks import Labels
from synood.pipeline.stages.tune import unit

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from synood.labels.negatives import Negatives
    from synood.models.loaded import Models
    from synood.settings import Recipe


def guide_name(recipe: Recipe, probe: bool) -> str:
    """Say in run.toml which classifier guides: a trained probe, the bundle's own, or none."""
    if recipe.guidance.objective == "margin":
        return "none, the encoder's margin"
    return "linear probe" if probe else "the bundle's"


def margin_guide(
    recipe: Recipe,
    models: Models,
    class_names: tuple[str, ...],
    class_features: NDArray[np.float32],
    negatives: Negatives,
) -> tuple[str, Callable[[], Labels]]:
    """Return the fingerprint of the margin between class names and negatives, and what makes it.

    `class_features` (C, D) have unit length. Names tell the texts apart, not their features, which
    another machine rounds otherwise.
    """
    texts = class_names, recipe.mining.prompt_set, negatives.words, negatives.prompts
    temperature = recipe.score.temperature
    mark = fingerprint("margin", models.part_fingerprint("encoder"), texts, temperature)
    return mark, lambda: Labels(class_features, unit(negatives.features), temperature)
