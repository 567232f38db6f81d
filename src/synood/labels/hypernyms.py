"""What WordNet says of two nouns: whether one is a kind of the other, or the name of one thing.

NegRefine asks a language model "is X a subcategory of Y" and "is X a proper noun"; WordNet's
hypernyms and instances answer both for the words that it knows, without a model. The relations of
WordNet 3.0's noun synsets are in the package, under WordNet's licence at the head of the file.
"""

from __future__ import annotations

import argparse
import lzma
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from synood.errors import InputError
from synood.files import read_text, text_lines, write_bytes
from synood.labels.prompts import without_wnid
from synood.labels.wordnet import licence_of, name_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SHIPPED = "wordnet-3.0-hypernyms.tsv.xz"
FIRST, INSTANCE = "*", "i"  # before a word whose first sense this is, and before a parent


@dataclass(frozen=True, eq=False)
class Hypernyms:
    """Noun synsets: `parents` of each, which are `instances`, and the senses of each word.

    `first` is the most frequent sense of a word, `senses` are all.
    """

    parents: tuple[tuple[int, ...], ...]
    instances: frozenset[int]
    first: dict[str, int]
    senses: dict[str, tuple[int, ...]]

    def is_proper(self, word: str) -> bool:
        """Whether every sense of a word names one thing: a city, a person, a mountain.

        >>> shipped_hypernyms().is_proper("lake superior")
        True
        """
        found = self.senses.get(name_key(word), ())
        return bool(found) and all(sense in self.instances for sense in found)

    def is_kind_of(self, word: str, name: str) -> bool:
        """Whether the most frequent sense of a word is a kind of any sense of `name`, or the same.

        Unknown words are kinds of nothing.

        >>> shipped_hypernyms().is_kind_of("spaniel", "dog")
        True
        >>> shipped_hypernyms().is_kind_of("dog", "spaniel")
        False
        """
        sense = self.first.get(name_key(word))
        wanted = self.senses.get(name_key(without_wnid(name)), ())
        return sense is not None and not self._above(sense).isdisjoint(wanted)

    def _above(self, sense: int) -> set[int]:
        """Return a synset and all above it."""
        found, left = set[int](), [sense]
        while left:
            one = left.pop()
            if one not in found:
                found.add(one)
                left += self.parents[one]
        return found


@cache
def shipped_hypernyms() -> Hypernyms:
    """Return WordNet 3.0's, from the file in the package."""
    packed = resources.files("synood.labels").joinpath(SHIPPED).read_bytes()
    lines = lzma.decompress(packed).decode().splitlines()
    return parse(line for line in lines if not line.startswith("#"))


def parse(lines: Iterator[str]) -> Hypernyms:
    """Read one synset a line: words joined by "|", a tab, the numbers of its parents."""
    parents, instances = [], set[int]()
    first: dict[str, int] = {}
    senses: dict[str, list[int]] = {}
    for number, line in enumerate(lines):
        words, _, above = line.partition("\t")
        for word in words.split("|"):
            plain = word.removeprefix(FIRST)
            senses.setdefault(plain, []).append(number)
            if word != plain:
                first[plain] = number
        marked = above.split(",") if above else []
        if any(one.startswith(INSTANCE) for one in marked):
            instances.add(number)
        parents.append(tuple(int(one.removeprefix(INSTANCE)) for one in marked))
    known = {word: tuple(found) for word, found in senses.items()}
    return Hypernyms(tuple(parents), frozenset(instances), first, known)


def write_hypernyms(directory: Path, out: Path) -> None:
    """Write the package's file from a WordNet database directory, licence first."""
    header = [f"# {line}".rstrip() for line in licence_of(directory / "data.noun")]
    data = "".join(line + "\n" for line in (*header, *_lines(directory)))
    write_bytes(out, lzma.compress(data.encode(), preset=9 | lzma.PRESET_EXTREME))


def _lines(directory: Path) -> Iterator[str]:
    firsts = {}
    for line in _database(directory / "index.noun"):
        fields = line.split()
        firsts[fields[0]] = fields[-int(fields[2])]  # senses end the line, most frequent first
    rows = [line.split(" | ")[0].split() for line in _database(directory / "data.noun")]
    numbers = {row[0]: number for number, row in enumerate(rows)}
    for row in rows:
        end = 4 + 2 * int(row[3], 16)
        lemmas = dict.fromkeys(word.lower() for word in row[4:end:2])
        words = [
            (FIRST if firsts.get(lemma) == row[0] else "") + lemma.replace("_", " ")
            for lemma in lemmas
        ]
        pointers = zip(row[end + 1 :: 4], row[end + 2 :: 4], row[end + 3 :: 4], strict=False)
        above = [
            (INSTANCE if symbol == "@i" else "") + str(numbers[offset])
            for symbol, offset, kind in pointers
            if symbol in ("@", "@i") and kind == "n"
        ]
        yield "|".join(words) + "\t" + ",".join(above)


def _database(path: Path) -> list[str]:
    """Return the lines of a database file without its licence, which is indented."""
    if not path.exists():
        raise InputError(f"{path}: no such file; give a WordNet database directory")
    return [line for line in text_lines(read_text(path)) if not line.startswith("  ")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the file in the package: python -m synood.labels.hypernyms DIRECTORY --out FILE."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("directory", type=Path, help="WordNet database directory")
    parser.add_argument("--out", type=Path, required=True, help="file to write, .tsv.xz")
    given = parser.parse_args(arguments)
    write_hypernyms(given.directory, given.out)


if __name__ == "__main__":
    main()
