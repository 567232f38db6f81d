"""Forms of one name: "hot dog", "hot-dog" and "hotdog", "wolf" and "wolves", "cat's" and "cats".

A form of a class name must not become that class's own negative label, nor be named among what
surrounds the class. Spelling, spacing and number are forms; synonyms are not.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

from synood.labels.prompts import without_wnid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from synood.labels.wordnet import Word

_IRREGULAR = {  # plural -> singular; also at the end of a compound ("firemen", "wisdom teeth")
    "men": "man",
    "children": "child",
    "people": "person",
    "feet": "foot",
    "teeth": "tooth",
    "geese": "goose",
    "mice": "mouse",
    "lice": "louse",
    "oxen": "ox",
    "dice": "die",
}
_ENDINGS = (  # of a plural -> of its singular; all that fit are tried
    ("ies", "y"),
    ("ies", "ie"),
    ("ves", "f"),
    ("ves", "fe"),
    ("ves", "ve"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("sses", "ss"),
    ("uses", "us"),
    ("ases", "as"),
    ("xes", "x"),
    ("zzes", "zz"),
    ("zzes", "z"),
    ("oes", "o"),
    ("ses", "sis"),
    ("xes", "xis"),
    ("ices", "ix"),
    ("ices", "ex"),
    ("eaux", "eau"),
    ("i", "us"),
    ("ae", "a"),
    ("s", ""),
)
_LEAST = {"i": 6, "ae": 4}  # letters of a singular, else 3: "titi" is no plural of "titus"
_ACCENT = re.compile(r"(?<=[a-z])[\u0300-\u036f]+")
_BETWEEN = re.compile(r"[\s_\-\u2010-\u2015]+")
_POSSESSIVE = re.compile(r"['\u2019\u02bc]s$")


def same_name(first: str, second: str) -> bool:
    """Say whether two names are forms of one: spelled apart or together, singular or plural.

    >>> same_name("hot dog", "Hot-Dogs"), same_name("wolf", "wolves"), same_name("bus", "bush")
    (True, True, False)
    """
    return second in NameForms([first])


class NameForms:
    """The forms of some names: `word in NameForms(names)` says whether a word is one of them.

    >>> forms = NameForms(["cherry", "T-shirt"])
    >>> "cherries" in forms, "t shirts" in forms, "shirt" in forms
    (True, True, False)
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {joined(name) for name in names}
        self._singulars = {form for name in self._names for form in _singulars(name)}

    def __contains__(self, word: str) -> bool:
        form = joined(word)
        return (
            form in self._names
            or form in self._singulars
            or any(singular in self._names for singular in _singulars(form))
        )

    def holds(self, word: Word) -> bool:
        """Whether a candidate is a form of a name; adjectives have no plural ("tight")."""
        if word.pos == "adjective":
            return joined(word.text) in self._names
        return word.text in self


def alike(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return the pairs of names that are forms of one, each with the plural last.

    >>> alike(["dogs", "cat", "dog", "hot-dog", "hot dog"])
    [('dog', 'dogs'), ('hot-dog', 'hot dog')]
    """
    first: dict[str, str] = {}
    pairs = []
    for name in names:
        other = first.setdefault(joined(name), name)
        if other != name:
            pairs.append((other, name))
    for key, name in first.items():
        pairs += [(first[form], name) for form in _singulars(key) if form in first]
    return sorted(set(pairs))


@lru_cache(maxsize=2**17)
def joined(name: str) -> str:
    """Return a name in lower case without its accents, spaces and punctuation.

    >>> joined("St. Bernard's"), joined("Crème-Brûlée")
    ('stbernard', 'cremebrulee')
    """
    plain = without_wnid(name).casefold().strip()
    plain = _ACCENT.sub("", unicodedata.normalize("NFKD", _POSSESSIVE.sub("", plain)))
    kept = "".join(char for char in plain if not _joins(char))
    return unicodedata.normalize("NFC", kept) or plain


def contains_name(text: str, name: str) -> bool:
    """Say whether some words of `text`, one after the other, are a form of `name`.

    >>> contains_name("a bowl of cherries", "cherry"), contains_name("wolfram", "wolf")
    (True, False)
    """
    forms, words = NameForms([name]), _words(text)
    return any(
        " ".join(words[start : start + count]) in forms
        for count in range(1, len(_words(name)) + 2)  # "hotdog" may be two words of a text
        for start in range(len(words) - count + 1)
    )


def _words(text: str) -> list[str]:
    return [word for word in _BETWEEN.split(text) if joined(word)]


def _singulars(form: str) -> Iterator[str]:
    """Yield what a word may be the plural of."""
    for plural, singular in _IRREGULAR.items():
        stem = form.removesuffix(plural)
        if stem != form and len(stem) != 1:  # "omen" is no plural of "Oman"
            yield stem + singular
    for plural, singular in _ENDINGS:
        stem = form.removesuffix(plural)
        if stem == form or len(stem + singular) < _LEAST.get(plural, 3):
            continue
        if plural != "s" or not form.endswith("ss"):  # "glass" is no plural
            yield stem + singular


def _joins(char: str) -> bool:
    """Whether a character only joins or parts the words of a name; "C#" and "C" are two names."""
    return unicodedata.category(char)[0] in "PZC" and char not in "#%&*@"
