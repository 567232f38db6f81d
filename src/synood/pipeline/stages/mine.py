"""Mine: words far from every class name -> negative labels (NegLabel §3)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from synood.features.texts import class_features
from synood.labels.negatives import listed_labels, mined_labels
from synood.labels.prompts import find_prompt_set
from synood.progress import no_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.features.store import FeatureStore
    from synood.labels.lists import LabelList
    from synood.labels.negatives import Negatives
    from synood.labels.wordnet import Word
    from synood.pipeline.stages.context import RunContext
    from synood.progress import StageProgress
    from synood.settings import MiningSettings


def mine(run: RunContext, listed: LabelList | None) -> Negatives:
    """Mine the negative labels from the bundle's words, or take those of a list."""
    mining, progress = run.recipe.mining, run.progress("mine")
    if listed is None:
        words = run.models.bundle.words()
        return mine_words(run.store, words, run.class_names, mining, progress)
    names = run.class_names if mining.exclude_class_names else ()
    listed, sentence = listed.without(names)
    run.workspace.notify("mine", sentence)
    encode = partial(run.store.texts, progress=progress)
    return listed_labels(listed.words, find_prompt_set(mining.prompt_set), encode)


def mine_words(
    store: FeatureStore,
    words: Sequence[Word],
    class_names: Sequence[str],
    settings: MiningSettings,
    progress: StageProgress = no_progress,
) -> Negatives:
    """Mine the negative labels among `words`."""
    prompts = find_prompt_set(settings.prompt_set)
    classes = class_features(store.texts, class_names, settings.prompt_set)
    encode = partial(store.texts, progress=progress)
    return mined_labels(words, class_names, prompts, settings, encode, classes)
