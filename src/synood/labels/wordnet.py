"""Candidate words from WordNet: read from its database files, or the list in the package.

NegLabel's corpus is the first word of each noun and adjective synset in lower case, without the
lexicographer files noun.animal and noun.food (its folder txtfiles/). This module gives that list
for any WordNet database directory, or for WordNet 3.0 without one.
"""

from __future__ import annotations

import argparse
import lzma
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from synood.errors import InputError
from synood.files import read_text, text_lines, write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SHIPPED = "wordnet-3.0-words.tsv.xz"
EXCLUDED = ("noun.animal", "noun.food")  # left out by NegLabel
DATA_FILES = ("data.noun", "data.adj")

LEXNAMES = {  # the field lex_filenum of a synset; lexnames(5WN)
    "00": "adj.all",
    "01": "adj.pert",
    "03": "noun.Tops",
    "04": "noun.act",
    "05": "noun.animal",
    "06": "noun.artifact",
    "07": "noun.attribute",
    "08": "noun.body",
    "09": "noun.cognition",
    "10": "noun.communication",
    "11": "noun.event",
    "12": "noun.feeling",
    "13": "noun.food",
    "14": "noun.group",
    "15": "noun.location",
    "16": "noun.motive",
    "17": "noun.object",
    "18": "noun.person",
    "19": "noun.phenomenon",
    "20": "noun.plant",
    "21": "noun.possession",
    "22": "noun.process",
    "23": "noun.quantity",
    "24": "noun.relation",
    "25": "noun.shape",
    "26": "noun.state",
    "27": "noun.substance",
    "28": "noun.time",
    "44": "adj.ppl",
}
_LICENCE_LINE = re.compile(r"  ?\d+ ?(.*)")
_ADJECTIVE_MARKER = re.compile(r"\((a|p|ip)\)$")  # where it may stand in a sentence; wndb(5WN)


@dataclass(frozen=True, slots=True)
class Word:
    """One candidate: lower-case text, part of speech, lexicographer file ("" if not WordNet's)."""

    text: str
    pos: Literal["noun", "adjective"]
    lexname: str


def name_key(name: str) -> str:
    """Return the form in which names are compared: case, "_" and spacing do not matter."""
    return " ".join(name.replace("_", " ").casefold().split())


def read_wordnet(directory: Path, exclude: Sequence[str] = EXCLUDED) -> tuple[Word, ...]:
    """Read the first word of each synset from a WordNet database directory.

    Args:
        directory: holds data.noun and data.adj, e.g. /usr/share/wordnet of Debian's wordnet-base.
        exclude: lexicographer files to leave out.

    Returns:
        Words in file order, nouns first, each text once; where a text is a noun and an adjective,
        it is the noun.

    Raises:
        InputError: a file is missing or not a WordNet database file.
    """
    return _select(_read_rows(Path(directory)), exclude)


def shipped_words(exclude: Sequence[str] = EXCLUDED) -> tuple[Word, ...]:
    """Return what `read_wordnet` gives for WordNet 3.0, from the list in the package.

    WordNet's licence is at the head of that list and in wordnet-3.0-LICENSE.txt.
    """
    packed = resources.files("synood.labels").joinpath(SHIPPED).read_bytes()
    return _select(_unpacked(packed), exclude)


def write_word_list(directory: Path, out: Path) -> None:
    """Write the package's list, licence first: one `text TAB lexname` per line, xz-compressed.

    Nothing is excluded, and a text is kept once per lexicographer file, so that readers can choose
    which files to exclude.
    """
    header = [f"# {line}".rstrip() for line in licence_of(directory / DATA_FILES[0])]
    rows = dict.fromkeys(_read_rows(directory))
    lines = [*header, *(f"{text}\t{lexname}" for text, lexname in rows)]
    data = "".join(line + "\n" for line in lines).encode()
    write_bytes(out, lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))


def _select(rows: Iterable[tuple[str, str]], exclude: Sequence[str]) -> tuple[Word, ...]:
    unknown = sorted(set(exclude) - set(LEXNAMES.values()))
    if unknown:
        known = ", ".join(LEXNAMES.values())
        raise InputError(f"exclude: {unknown[0]!r} is not a lexicographer file; use {known}")
    words: dict[str, Word] = {}
    for text, lexname in rows:
        if lexname not in exclude and text not in words:
            words[text] = Word(text, "noun" if lexname.startswith("noun") else "adjective", lexname)
    return tuple(words.values())


@lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> tuple[tuple[str, str], ...]:
    """Return (text, lexname) of each line of a packed list."""
    lines = lzma.decompress(packed).decode().splitlines()
    rows = (line.partition("\t") for line in lines if not line.startswith("#"))
    return tuple((text, lexname) for text, _, lexname in rows)


def _read_rows(directory: Path) -> Iterator[tuple[str, str]]:
    """Yield (text, lexname) of each synset, nouns first."""
    for name in DATA_FILES:
        path = directory / name
        for number, line in enumerate(_read_lines(path), start=1):
            if not line.startswith("  "):  # the licence is indented
                yield _parse(line, path, number)


def _parse(line: str, path: Path, number: int) -> tuple[str, str]:
    fields = line.split(" ", 5)  # offset, lexicographer file, type, word count, first word, rest
    if len(fields) < 6 or fields[1] not in LEXNAMES:
        raise InputError(f"{path}, line {number}: not a noun or adjective synset of WordNet")
    text = _ADJECTIVE_MARKER.sub("", fields[4])
    return text.replace("_", " ").lower(), LEXNAMES[fields[1]]


def licence_of(path: Path) -> Iterator[str]:
    """Yield the lines of the licence that heads a database file."""
    for line in _read_lines(path):
        found = _LICENCE_LINE.match(line)
        if not found:
            return
        yield found[1]


def _read_lines(path: Path) -> list[str]:
    if not path.exists():
        raise InputError(
            f"{path}: no such file; give a WordNet database directory holding"
            f" {' and '.join(DATA_FILES)}"
        )
    return text_lines(read_text(path))


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the list in the package: python -m synood.labels.wordnet DIRECTORY --out FILE."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("directory", type=Path, help="WordNet database directory")
    parser.add_argument("--out", type=Path, required=True, help="file to write, .tsv.xz")
    given = parser.parse_args(arguments)
    write_word_list(given.directory, given.out)


if __name__ == "__main__":
    main()
