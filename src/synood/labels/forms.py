"""Forms of one name: "hot dog", "hot-dog" and "hotdog", "wolf" and "wolves", "cat's" and "cats".

A form of a class name must not become that class's own negative label, nor be named among what
surrounds the class. Spelling, spacing and number are forms; synonyms are not.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import islice, product
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
    ("sses", "s"),
    ("ses", "s"),
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
    ("a", "um"),
    ("a", "on"),
    ("s", ""),
)
# letters of a singular with this plural, else 3: "titi" is no plural of "titus"
_LEAST = {"i": 6, "ae": 4, "a": 7, "s": 2}
_MOST = 64  # forms of a name of several words
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
        names = list(names)
        self._names = {form for name in names for form in _spellings(name)}
        self._singulars = {form for name in names for form in _singular_forms(name)}

    def __contains__(self, word: str) -> bool:
        return any(
            form in self._names or form in self._singulars for form in _spellings(word)
        ) or any(form in self._names for form in _singular_forms(word))

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
    for name in first.values():
        pairs += [(first[form], name) for form in _singular_forms(name) if form in first]
    return sorted(set(pairs))


@lru_cache(maxsize=2**17)
def joined(name: str) -> str:
    """Return a name in lower case without its accents, spaces and punctuation.

    >>> joined("St. Bernard's"), joined("Crème-Brûlée")
    ('stbernard', 'cremebrulee')
    """
    plain = _POSSESSIVE.sub("", without_wnid(name).casefold().strip())
    if plain.isascii():  # nothing to take apart
        return plain.translate(_ASCII_JOINS) or plain
    plain = _ACCENT.sub("", unicodedata.normalize("NFKD", plain))
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


def _spellings(name: str) -> tuple[str, ...]:
    """Return a name without what joins its words, and without their possessives as well."""
    whole = joined(name)
    apart = "".join(joined(word) for word in _words(without_wnid(name)))
    return (whole,) if apart == whole else (whole, apart)


def _singular_forms(name: str) -> Iterator[str]:
    """Yield what a name may be the plural of, by its end or by any of its words."""
    yield from singulars(joined(name))
    words = [joined(word) for word in _words(without_wnid(name))]
    if len(words) > 1:
        choices = product(*([word, *singulars(word)] for word in words))
        yield from ("".join(choice) for choice in islice(choices, 1, _MOST))


def singulars(form: str) -> Iterator[str]:
    """Yield what a word, as `joined` returns it, may be the plural of."""
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


_ASCII_JOINS = dict.fromkeys(filter(lambda code: _joins(chr(code)), range(128)))
