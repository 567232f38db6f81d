"""What a multimodal model is asked about an image, by name and version, and how answers are read.

The paper asks LLaVA for labels of each element around the main object (§3.3, §4.1); its question is
unpublished. A question's text never changes under its name: a better one gets another name, since
answers are kept by the text.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from synood.errors import InputError
from synood.models.describer import names_overlap


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        name: with its version.
        text: with a {} where the class name goes.
        max_tokens: of an answer.
        items: kept things of an answer, the first ones.
        characters: of all kept things; 120 are some 30 tokens of CLIP's 77, in plain English.
        fallback: the text where an answer holds nothing that can be used.
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

        >>> QUESTIONS["surroundings-v1"].read("- a sofa\\n- The dog's bowl\\n- Window.", "dog")
        'sofa, Window'
        """
        kept: list[str] = []
        for part in () if _refuses(answer) else _PARTS.split(_plain(answer)):
            item = _item(part)
            known = {other.casefold() for other in kept}
            fits = item and len(item.split()) <= _WORDS and item.casefold() not in known
            length = len(", ".join([*kept, item]))
            if fits and length <= self.characters and not names_overlap(item, class_name):
                kept.append(item)
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

_WORDS = 6  # of an item; what is longer is a sentence about the picture, not a name
_PARTS = re.compile(r"[,;\n\r|]|(?<=[a-z])\.(?=\s|$)|\band\b")
_LEAD = re.compile(
    r"^(?:\W*\d+[.)]|[\W_]+)?\s*(?:answer|surroundings|background)?:?\s*"
    r"(?:(?:the|this|in the)\s+(?:picture|image|photo|background|surroundings)\b,?\s*"
    r"(?:shows?|contains?|includes?|features?|has|have|is|are|there (?:is|are))?\s*)?"
    r"(?:(?:there (?:is|are)\s+)?(?:an?|the|some|several)\s+)?",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"^\W*(?:i['’]?m |i am )?(?:sorry|unable)\b"
    r"|\bI (?:cannot|can['’]t|can not|am unable)\b|\bas an ai\b",
    re.IGNORECASE,
)


def find_question(name: str) -> Question:
    """Return a named question; an unknown name is an `InputError` that lists the known."""
    if name not in QUESTIONS:
        raise InputError(f"question {name!r} is unknown; use one of {', '.join(QUESTIONS)}")
    return QUESTIONS[name]


def _refuses(answer: str) -> bool:
    return _REFUSAL.search(answer) is not None


def _plain(text: str) -> str:
    """Return text as the ASCII letters nearest to it: text towers cut other scripts into bytes."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def _item(part: str) -> str:
    words = " ".join(_LEAD.sub("", part.strip()).split())
    return words.strip(" .:!?*\"'`()[]<>{}")
