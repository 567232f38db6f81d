"""A detector from class names alone: their features, and those of negative labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synood.detector.backbone import Backbone
from synood.features.texts import class_features, loaded_texts, unit
from synood.labels.class_names import checked_class_names
from synood.labels.lists import given_labels
from synood.labels.negatives import listed_labels, mined_labels
from synood.labels.prompts import find_prompt_set
from synood.models.loaded import Models

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.labels.lists import GivenNegatives
    from synood.models.bundles import Bundle
    from synood.settings import MiningSettings, ScoreSettings


def zero_shot(
    names: Sequence[str],
    bundle: Bundle,
    mining: MiningSettings,
    negatives: GivenNegatives | None,
    settings: ScoreSettings | None,
    device: str,
) -> dict[str, Any]:
    """Return the arguments of `OODDetector`; see `OODDetector.from_classes`."""
    class_names = checked_class_names(names)
    prompts = find_prompt_set(mining.prompt_set)
    loaded = Models(bundle, device)
    encode = loaded_texts(loaded).encode
    notes: list[str] = []
    class_rows = class_features(encode, class_names, prompts.name)
    if negatives is None:
        found = mined_labels(bundle.words(), class_names, prompts, mining, encode, class_rows)
    else:
        taken = class_names if mining.exclude_class_names else ()
        left, *notes = given_labels(negatives).without(taken)
        found = listed_labels(left.words, prompts, encode)
    return {
        "encoder": Backbone.of(bundle, loaded.encoder, device),
        "class_names": class_names,
        "prompt_set": prompts.name,
        "class_features": class_rows,
        "negative_prompts": found.prompts,
        "negative_features": unit(found.features),
        "settings": settings or bundle.score,
        "notes": tuple(notes),
    }
