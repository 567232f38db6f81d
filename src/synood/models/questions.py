"""The questions that a multimodal model is asked about an image, by name and version.

The paper asks LLaVA for labels of each element around the main object (§3.3, §4.1); its question is
unpublished. The text under a name never changes, since answers are cached by it: a better question
gets a new name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from synood.errors import InputError
from synood.models._answer_text import AnswerError, answer_names, excerpt
from synood.models.describer import names_overlap


@dataclass(frozen=True)
class Question:
    """A question, and how its answers are read.

    Attributes:
        name: name and version.
        text: the question, with {} for the class name.
        max_tokens: limit of an answer's length.
        items: number of names kept of an answer, the first ones.
        characters: limit of their length together; 120 are about 30 of CLIP's 77 tokens.
        fallback: text for an image around whose subject there is nothing to name.
    """

    name: str
    text: str
    max_tokens: int = 80
    items: int = 6
    characters: int = 120
    fallback: str = "plain background"

    def ask(self, class_name: str) -> str:
        """Return the question about an image of a class."""
        return self.text.replace("{}", class_name)

    def read(self, answer: str, class_name: str) -> str:
        """Turn an answer into one line, "thing, thing", without the class itself.

        An answer that names nothing but the class, or says that there is nothing, is the fallback.

        Raises:
            AnswerError: it is empty, a refusal, not in English, or holds no name.

        >>> QUESTIONS["surroundings-v1"].read("- a sofa\\n- The dog's bowl\\n- Window.", "dog")
        'sofa, Window'
        """
        kept: list[str] = []
        nothing_else = False
        for name in answer_names(answer):
            few = len(name.split()) <= _WORDS
            if _NOTHING.match(name) or names_overlap(name, class_name):
                nothing_else |= few  # a sentence that holds the class says more than its name
                continue
            known = {other.casefold() for other in kept}
            short = few and len(", ".join([*kept, name])) <= self.characters
            if short and name.casefold() not in known:
                kept.append(name)
        if not kept and not nothing_else:
            raise AnswerError(f"the answer holds no short name ({excerpt(answer)})")
        return ", ".join(kept[: self.items]) or self.fallback


QUESTIONS = {
    question.name: question
    for question in (
        Question(
            "surroundings-v1",
            "The main object of this picture is: {}. Look past it, at what is around it. Name up to"
            " six things, materials or places that are visible in its surroundings and background,"
            " each in one to four words. Answer with these names alone, on one line, separated by"
            " commas. Do not name the main object, its parts, or others of its kind.",
        ),
    )
}

_WORDS = 6  # in a name; what is longer is a sentence about the image
_NOTHING = re.compile(
    r"(?:there(?: is| are|'s) )?(?:none|nothing|not (?:applicable|visible)|null|nil)\b"
    r"|(?:no|blank|empty)$"
    r"|(?:there (?:is|are) )?no (?:other|visible|background|surroundings?|objects?|things?)\b",
    re.IGNORECASE,
)


def find_question(name: str) -> Question:
    """Return a named question; an unknown name is an `InputError` that lists the known."""
    if not isinstance(name, str) or name not in QUESTIONS:
        raise InputError(f"question {name!r} is unknown; use one of {', '.join(QUESTIONS)}")
    return QUESTIONS[name]
