"""Names that no dictionary has: a text encoder that read little can only guess at them."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from synood.labels.forms import joined, singulars
from synood.labels.wordnet import shipped_words

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

_BETWEEN = re.compile(r"[\s_\-\u2010-\u2015/,;.()]+")


def unknown_names(names: Sequence[str], vocabulary: Container[str] = ()) -> list[str]:
    """Return the names of which no word is in WordNet, as noun or adjective, or in `vocabulary`.

    `vocabulary` holds words in lower case that the text encoder has as a whole.

    >>> unknown_names(["fire trucks", "SKU4711", "soyghurt", "iPhone"], {"iphone"})
    ['SKU4711', 'soyghurt']
    """

    def is_known(name: str) -> bool:
        forms = [form for form in _forms(name) if form.isascii() and not form.isdigit()]
        if any(form in vocabulary for form in forms):
            return True  # WordNet takes half a second to read
        return not _known().isdisjoint(forms)

    return [name for name in names if not is_known(name)]


def _forms(name: str) -> list[str]:
    """Return a name and its words, each with what it may be the plural of."""
    texts = [joined(name), *(joined(word) for word in _BETWEEN.split(name) if len(word) > 1)]
    return [form for text in texts for form in (text, *singulars(text))]


@cache
def _known() -> frozenset[str]:
    """Return WordNet's entries and the words in them, as `joined` writes them."""
    words = shipped_words(())
    parts = {part for word in words for part in _BETWEEN.split(word.text) if len(part) > 1}
    return frozenset(map(joined, {*(word.text for word in words), *parts}))
