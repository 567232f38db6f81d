"""Class names and negative labels as text features: all that a zero-shot detector is made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synood.errors import InputError
from synood.labels.lists import label_list, read_labels
from synood.labels.prompts import PROMPT_SETS, averaged
from synood.settings import MiningSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from synood.labels.lists import LabelList
    from synood.labels.prompts import Prompts, PromptSet
    from synood.labels.wordnet import Word
    from synood.models.clip import ImageTextEncoder

    GivenNegatives = str | Path | Sequence[str | Word]

AT_ONCE = 2048  # names whose prompts are encoded together


def checked_class_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names stripped; none, an empty or a repeated one is an `InputError`.

    Names that differ only in case or spacing count as one, since they mean the same class.

    >>> checked_class_names([" cat", "dog"])
    ('cat', 'dog')
    """
    if isinstance(names, str):
        raise InputError(f"class names: give a list of names, not the one text {names!r}")
    cleaned = tuple(" ".join(name.split()) for name in names)
    if not cleaned:
        raise InputError("class names: the list is empty; give at least one name")
    seen: dict[str, int] = {}
    for number, name in enumerate(cleaned, start=1):
        if not name:
            raise InputError(f"class names: number {number} is empty; name it or remove it")
        first = seen.setdefault(name.casefold(), number)
        if first != number:
            raise InputError(
                f"class names: {name!r} is there twice (numbers {first} and {number}); "
                "rename or remove one"
            )
    return cleaned


def find_prompt_set(name: str) -> PromptSet:
    """Return a named prompt set; an unknown name is an `InputError` that lists the known."""
    if name not in PROMPT_SETS:
        raise InputError(f"prompt set {name!r} is unknown; use one of {', '.join(PROMPT_SETS)}")
    return PROMPT_SETS[name]


def mining_settings(
    mining: MiningSettings | None,
    bundle_prompts: str,
    prompt_set: str | None,
    share: float | None,
    quantile: float | None,
) -> MiningSettings:
    """Return `mining`, or NegLabel's with the bundle's prompts, and what is given laid over it."""
    chosen = mining or MiningSettings(prompt_set=bundle_prompts)
    return replace(
        chosen,
        prompt_set=chosen.prompt_set if prompt_set is None else prompt_set,
        share=chosen.share if share is None else share,
        quantile=chosen.quantile if quantile is None else quantile,
    )


def text_encoder(
    encoder: ImageTextEncoder, advance: Callable[[int, int], None] | None = None
) -> Callable[[Sequence[Prompts]], NDArray[np.float32]]:
    """Return what encodes the prompts of N names, a few thousand at a time: (N, D).

    `advance` hears how many of all names are done.
    """

    def encode(prompts: Sequence[Prompts]) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(prompts), AT_ONCE):
            piece = prompts[start : start + AT_ONCE]
            parts.append(averaged(piece, encoder.encode_texts))
            if advance is not None:
                advance(start + len(piece), len(prompts))
        return np.concatenate(parts)

    return encode


def given_labels(negatives: GivenNegatives) -> LabelList:
    """Read negative labels given as words or prompts, or as the name or path of a list."""
    if isinstance(negatives, (str, Path)):
        return read_labels(negatives)
    return label_list(negatives, "a list")
