"""Prompt templates: how class names and candidate words are worded for the text tower."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from synood.errors import InputError
from synood.scores import normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from synood.labels.wordnet import Word

_ID = re.compile(r" \[n\d{8}\]$")
Prompts: TypeAlias = tuple[str, ...]  # of one name, whose features are averaged


@dataclass(frozen=True)
class PromptSet:
    """Templates, each with one {} for the name; the features of several are averaged.

    Attributes:
        name: stored in detectors.
        in_distribution: for class names.
        noun: for candidate nouns.
        adjective: for candidate adjectives.

    Raises:
        InputError: a list is empty, or a template does not have exactly one {}.
    """

    name: str
    in_distribution: Prompts
    noun: Prompts
    adjective: Prompts

    def __post_init__(self) -> None:
        for field in ("in_distribution", "noun", "adjective"):
            templates = getattr(self, field)
            if not templates:
                raise InputError(f"prompt set {self.name!r}, {field}: needs a template")
            for template in templates:
                if template.count("{}") != 1:
                    raise InputError(
                        f"prompt set {self.name!r}, {field}: {template!r} needs exactly one {{}}"
                    )

    def class_prompts(self, names: Iterable[str]) -> list[Prompts]:
        """Return the prompts of each name, in order; a WordNet id in brackets is left out."""
        return [_filled(self.in_distribution, without_wnid(name)) for name in names]

    def word_prompts(self, word: Word) -> Prompts:
        """Return the prompts of a candidate word by its part of speech."""
        return _filled(self.noun if word.pos == "noun" else self.adjective, word.text)

    def label(self, word: Word) -> str:
        """Return the line of a negative label in lists: its one prompt, or the word."""
        prompts = self.word_prompts(word)
        return prompts[0] if len(prompts) == 1 else word.text


def without_wnid(class_name: str) -> str:
    """Return a class name as used in prompts: without the WordNet id that may end it.

    Classes of the same name differ in their ids and share their prompt.

    >>> without_wnid("missile [n04008634]")
    'missile'
    """
    return _ID.sub("", class_name)


def averaged(
    prompts: Sequence[Prompts], encode: Callable[[Sequence[str]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Encode the prompts of N names: (N, D).

    Where every name has one prompt, the features are the encoder's. Otherwise each
    prompt's feature is scaled to unit length and those of a name are averaged, as CLIP's authors
    do; CSP's code (multi_modal.py:63-66) averages them unscaled.
    """
    counts = np.array([len(some) for some in prompts])
    features = encode([text for some in prompts for text in some])
    if (counts == 1).all():
        return features
    starts = np.concatenate([[0], counts.cumsum()[:-1]])
    sums = np.add.reduceat(normalise(features, "text features"), starts, axis=0)
    means: NDArray[np.float32] = (sums / counts[:, None]).astype(np.float32)
    return means


def _filled(templates: Prompts, name: str) -> Prompts:
    # unlike str.format, replace leaves other braces alone
    return tuple(template.replace("{}", name) for template in templates)


# NeurIPS2024-CSP at commit 3a7bdab, class_names.py:1074-1107
_CSP_NOUN = (
    "a close-up photo of the nice {}.",
    "a photo with the nice {}.",
    "a good photo with the nice {}.",
    "a photo of the nice {}.",
    "{}",
    "the {}",
    "the good {}",
    "the nice {}",
)
_CSP_ADJECTIVE = ("{}", "a nice photo of {}", "a good photo of {}", "a close-up photo of {}")

PROMPT_SETS = {
    prompts.name: prompts
    for prompts in (
        # NegLabel: multi_modal.py:54 and its prompt_templates[85]
        PromptSet("neglabel", ("the nice {}",), ("the nice {}",), ("This is a {} photo",)),
        # SynOOD trains its projection with another article: datasets.py:424-426
        PromptSet("released", ("a nice {}",), ("the nice {}",), ("This is a {} photo",)),
        # CLIP's own plain template (Radford et al., 2021); the adjective instead of the noun
        PromptSet("photo", ("a photo of a {}",), ("a photo of a {}",), ("a {} photo",)),
        # CSP; an adjective comes with a noun behind it, from the pool of that name
        PromptSet("csp", _CSP_NOUN, _CSP_NOUN, _CSP_ADJECTIVE),
    )
}


def find_prompt_set(name: str) -> PromptSet:
    """Return a named prompt set; an unknown name is an `InputError` that lists the known ones."""
    if name not in PROMPT_SETS:
        raise InputError(f"prompt set {name!r} is unknown; use one of {', '.join(PROMPT_SETS)}")
    return PROMPT_SETS[name]
