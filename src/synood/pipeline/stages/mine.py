"""Mine: words far from every class name -> negative labels (NegLabel §3)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from synood.features.texts import class_features
from synood.labels.imagenet import wnids_of
from synood.labels.lists import read_labels
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

RELEASED = "neglabel-imagenet"  # NegLabel's list, which SynOOD's code has as well


def mine(run: RunContext, listed: LabelList | None) -> Negatives:
    """Mine the negative labels from the bundle's words, or take those of a list."""
    mining, progress = run.recipe.mining, run.progress("mine")
    if listed is None and not uses_released_list(mining, run.class_names):
        words = run.models.bundle.words()
        return mine_words(run.store, words, run.class_names, mining, progress)
    listed = listed or read_labels(RELEASED)
    listed, sentence = listed.without(_left_out(mining, run.class_names))
    run.workspace.notify("mine", sentence)
    encode = partial(run.store.texts, progress=progress)
    return listed_labels(listed.words, find_prompt_set(mining.prompt_set), encode)


def uses_released_list(settings: MiningSettings, class_names: Sequence[str]) -> bool:
    """Whether the negatives are the released ones, which were mined for ImageNet's classes."""
    return settings.labels == "released" and wnids_of(class_names) is not None


def _left_out(settings: MiningSettings, class_names: Sequence[str]) -> Sequence[str]:
    return class_names if settings.exclude_class_names else ()


def mine_words(
    store: FeatureStore,
    words: Sequence[Word],
    class_names: Sequence[str],
    settings: MiningSettings,
    progress: StageProgress = no_progress,
) -> Negatives:
    """Mine the negative labels among `words`, or take the released list if the settings say so."""
    prompts = find_prompt_set(settings.prompt_set)
    if uses_released_list(settings, class_names):
        listed, _ = read_labels(RELEASED).without(_left_out(settings, class_names))
        return listed_labels(listed.words, prompts, partial(store.texts, progress=progress))
    classes = class_features(store.texts, class_names, settings.prompt_set)
    encode = partial(store.texts, progress=progress)
    return mined_labels(words, class_names, prompts, settings, encode, classes)
