"""Whether the names in an answer are English: CLIP's tower reads no other language well."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from synood.labels.forms import joined, singulars
from synood.labels.wordnet import shipped_words

if TYPE_CHECKING:
    from collections.abc import Sequence

_FOREIGN = {  # articles and small words, none of which is an English word as well
    *("un", "une", "des", "les", "du", "le", "la", "et", "avec", "dans"),  # French
    *("el", "los", "las", "una", "unos", "unas", "um", "uma", "uns", "umas", "il", "lo", "gli"),
    *("der", "das", "dem", "ein", "eine", "einen", "einem", "und", "mit", "het", "een"),
    *("och", "og"),
}
_WORDS = re.compile(r"[a-z]+")


def is_english(names: Sequence[str]) -> bool:
    """Say whether most names of an answer may be English.

    A name is none that begins with a foreign article or joins its words in another language, and
    so are two or more names of which WordNet knows no word.

    >>> is_english(["sofa", "brick wall"]), is_english(["Lampe", "Teppich"]), is_english(["skibob"])
    (True, False, True)
    """
    parts = [_WORDS.findall(name.lower()) for name in names]
    foreign = sum(bool(_FOREIGN & {*words[:-1]}) for words in parts)
    unknown = sum(not any(map(_known, words)) for words in parts)
    return 2 * foreign <= len(names) and (unknown < 2 or 2 * unknown <= len(names))


def _known(word: str) -> bool:
    if word in _FOREIGN:
        return False
    known = _english_words()
    return word in known or any(form in known for form in singulars(word)) or word.endswith("ed")


@lru_cache(maxsize=1)
def _english_words() -> frozenset[str]:
    words = (joined(part) for word in shipped_words() for part in re.split("[ -]", word.text))
    return frozenset(words)
