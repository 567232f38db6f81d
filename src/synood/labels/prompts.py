"""Prompt templates: how a class name or a candidate word is put to the text tower."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from synood.labels.wordnet import Word

_ID = re.compile(r" \[n\d{8}\]$")


@dataclass(frozen=True)
class PromptSet:
    """Three templates, each with one {} where the name goes.

    Attributes:
        name: under which a detector remembers the set.
        in_distribution: for class names.
        noun: for candidate nouns.
        adjective: for candidate adjectives.

    Raises:
        InputError: a template does not have exactly one {}.
    """

    name: str
    in_distribution: str
    noun: str
    adjective: str

    def __post_init__(self) -> None:
        for field in ("in_distribution", "noun", "adjective"):
            template = getattr(self, field)
            if template.count("{}") != 1:
                raise InputError(
                    f"prompt set {self.name!r}, {field}: {template!r} needs exactly one {{}}"
                )

    def class_prompts(self, names: Iterable[str]) -> list[str]:
        """Return one prompt per class name, in the order given; an id in brackets is left out."""
        return [_fill(self.in_distribution, spoken(name)) for name in names]

    def word_prompt(self, word: Word) -> str:
        """Return the prompt of a candidate word by its part of speech."""
        return _fill(self.noun if word.pos == "noun" else self.adjective, word.text)


def spoken(class_name: str) -> str:
    """Return a class's name as it stands in prompts: without the WordNet id that may end it.

    Two classes of one name are told apart by their ids, and share their prompt.

    >>> spoken("missile [n04008634]")
    'missile'
    """
    return _ID.sub("", class_name)


def _fill(template: str, name: str) -> str:
    return template.replace("{}", name)  # unlike str.format, takes braces in either as they are


PROMPT_SETS = {
    prompts.name: prompts
    for prompts in (
        # NegLabel: multi_modal.py:54 and its prompt_templates[85]
        PromptSet("neglabel", "the nice {}", "the nice {}", "This is a {} photo"),
        # SynOOD trains its projection with another article: datasets.py:424-426
        PromptSet("released", "a nice {}", "the nice {}", "This is a {} photo"),
        # CLIP's own plain template (Radford et al., 2021); the adjective in its noun's place
        PromptSet("photo", "a photo of a {}", "a photo of a {}", "a {} photo"),
    )
}
