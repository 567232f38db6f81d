"""WordNet's nouns as the text side of `photo` learns from them: words, senses, glosses, kinship."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from synood.files import read_text
from synood.labels.wordnet import LEXNAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Noun:
    """One synset: its words, its lexicographer file, its hypernyms' ids and its definition."""

    words: tuple[str, ...]
    lexname: str
    hypernyms: tuple[str, ...]
    definition: str


class Nouns:
    """All noun synsets of a WordNet database by id ("n02121808"), and the senses of each word."""

    def __init__(self, synsets: dict[str, Noun], senses: dict[str, tuple[str, ...]]) -> None:
        self.synsets, self.senses = synsets, senses

    @classmethod
    def read(cls, folder: Path) -> Nouns:
        """Read data.noun and index.noun."""
        synsets = {}
        for line in read_text(folder / "data.noun").splitlines():
            if not line.startswith("  "):
                head, _, gloss = line.partition(" | ")
                fields = head.split(" ")
                count = int(fields[3], 16)
                words = tuple(fields[4 + 2 * i].replace("_", " ") for i in range(count))
                start = 5 + 2 * count
                pointers = [fields[i : i + 3] for i in range(start, len(fields) - 3, 4)]
                above = tuple(f"n{to}" for kind, to, pos in pointers if kind in ("@", "@i"))
                name = LEXNAMES[fields[1]]
                synsets[f"n{fields[0]}"] = Noun(words, name, above, gloss.split(";")[0].strip())
        senses = {}
        for line in read_text(folder / "index.noun").splitlines():
            if not line.startswith("  "):
                fields = line.split()
                ids = fields[-int(fields[2]) :]
                senses[fields[0].replace("_", " ")] = tuple(f"n{number}" for number in ids)
        return cls(synsets, senses)

    @cached_property
    def ancestors(self) -> dict[str, frozenset[str]]:
        """Each synset's hypernyms of every degree, and itself."""
        found: dict[str, frozenset[str]] = {}

        def of(synset: str) -> frozenset[str]:
            if synset not in found:
                above = (of(parent) for parent in self.synsets[synset].hypernyms)
                found[synset] = frozenset({synset}).union(*above)
            return found[synset]

        for synset in self.synsets:
            of(synset)
        return found

    @cached_property
    def information(self) -> dict[str, float]:
        """Each synset's information content: minus the log of the share of synsets below it."""
        below = Counter(above for every in self.ancestors.values() for above in every)
        return {name: -float(np.log(below[name] / len(self.synsets))) for name in self.synsets}

    def kinship(self, synsets: Sequence[str], classes: Sequence[str]) -> NDArray[np.float32]:
        """Lin's similarity (1998) of N synsets with K classes: (N, K) in [0, 1].

        Twice the information of the nearest common hypernym over the sum of both's own.
        """
        information = self.information
        below: dict[str, list[int]] = {}
        for row, name in enumerate(classes):
            for above in self.ancestors[name]:
                below.setdefault(above, []).append(row)
        common = np.zeros((len(synsets), len(classes)), np.float32)
        for row, name in enumerate(synsets):
            for above in sorted(self.ancestors[name], key=lambda s: (information[s], s)):
                if above in below:
                    common[row, below[above]] = information[above]
        own = np.array([information[name] for name in synsets], np.float32)
        theirs = np.array([information[name] for name in classes], np.float32)
        return 2 * common / (own[:, None] + theirs[None] + np.float32(1e-6))

    def above(self, classes: Iterable[str]) -> list[str]:
        """Every hypernym of the classes, sorted, without the classes."""
        found = set().union(*(self.ancestors[name] for name in classes))
        return sorted(found - set(classes))


def is_common(word: str) -> bool:
    """Whether a word is written in lower case, as common nouns are.

    >>> is_common("jack-o'-lantern"), is_common("Labrador")
    (True, False)
    """
    return word.replace("-", "").replace("'", "").replace(" ", "").islower()
