"""Candidate pools: which words may become negative labels, and in what form.

"neglabel" keeps the words as they are. "csp" (Chen et al., NeurIPS 2024) drops the lexicographer
files of persons, quantities, groups and pertainyms, and appends a general noun to each adjective:
"mossy" becomes "mossy landscape".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING

from synood.errors import InputError
from synood.labels.wordnet import EXCLUDED, Word, shipped_words

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Pool:
    """A rule: lexicographer files to drop, and nouns to append to adjectives."""

    name: str
    drop: tuple[str, ...] = ()
    superclasses: tuple[str, ...] = ()


POOLS = {
    pool.name: pool
    for pool in (
        Pool("neglabel"),
        Pool(  # NeurIPS2024-CSP at commit 3a7bdab: clip-ViT-B16.py:22-24, class_names.py:1085-1100
            "csp",
            drop=("noun.person", "noun.quantity", "noun.group", "adj.pert"),
            superclasses=(
                *("environment", "space", "object", "scene", "place", "item", "area"),
                *("view", "thing", "pattern", "structure", "landscape", "vista", "creature"),
            ),
        ),
    )
}


def candidates(words: Sequence[Word], pool: str = "neglabel", seed: int = 0) -> tuple[Word, ...]:
    """Return the candidates that a pool makes from `words`, in their order.

    A word is dropped when WordNet 3.0 has it only in dropped files, whether it comes from WordNet
    or from a user's list; words unknown to WordNet stay. A word dropped as a noun may stay as an
    adjective. The noun after an adjective depends on the seed and the adjective alone, not on the
    other words; CSP draws in the order of its files.

    >>> mossy = Word("mossy", "adjective", "adj.all")
    >>> [word.text for word in candidates([mossy, Word("captain", "noun", "")], "csp")]
    ['mossy view']

    Raises:
        InputError: the pool is unknown.
    """
    if pool not in POOLS:
        raise InputError(f"mining.pool: {pool!r} is unknown; use one of {', '.join(POOLS)}")
    rule = POOLS[pool]
    kept = _kept(words, rule.drop) if rule.drop else words
    if not rule.superclasses:
        return tuple(kept)
    return tuple(_with_superclass(word, rule.superclasses, seed) for word in kept)


def _kept(words: Sequence[Word], drop: tuple[str, ...]) -> list[Word]:
    known, allowed = _known_and_allowed(drop)
    return [
        allowed.get(word.text, word) if word.lexname in drop else word
        for word in words
        if word.text in allowed or word.text not in known
    ]


@cache
def _known_and_allowed(drop: tuple[str, ...]) -> tuple[frozenset[str], dict[str, Word]]:
    """Return all texts of WordNet and, by text, the words outside the dropped files."""
    known = frozenset(word.text for word in shipped_words())
    return known, {word.text: word for word in shipped_words((*EXCLUDED, *drop))}


def _with_superclass(word: Word, superclasses: tuple[str, ...], seed: int) -> Word:
    if word.pos == "noun":
        return word
    draw = int.from_bytes(sha256(f"{seed}:{word.text}".encode()).digest()[:8], "big")
    return replace(word, text=f"{word.text} {superclasses[draw % len(superclasses)]}")
