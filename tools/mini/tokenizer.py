"""Makes the CLIPTokenizer of the mini in-painter from the words of the mini world.

Every word of the given captions is one token; every other text still tokenises, by bytes, so
nothing a user types is unknown. The files are the classic ones, vocab.json and merges.txt.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from synood.files import write_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

START, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"


def words_of(captions: Iterable[str]) -> list[str]:
    """Return the distinct lower-case words of captions, sorted; digits and signs stand alone."""
    found: set[str] = set()
    for caption in captions:
        found.update(re.findall(r"[^\W\d_]+", caption.lower()))
    return sorted(found)


def byte_symbols() -> list[str]:
    """Return the 256 printable stand-ins of bytes that byte-level BPE uses, in byte order.

    Printable Latin-1 characters stand for themselves, the rest for code points from 256 on
    (the table of GPT-2, which CLIP's tokenizer shares).
    """
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return [chr(byte if byte in printable else next(spare)) for byte in range(256)]


def merges_of(words: Sequence[str]) -> list[tuple[str, str]]:
    """Return merges, in order of rank, that join each word from the left to one token.

    Merges of an earlier word could break up a later one ("ca" + "t" has no rank where "at" comes
    first), so every word is checked with the ranks so far and joined from the parts they leave.
    """
    table = byte_symbols()
    ranks: dict[tuple[str, str], int] = {}
    spelled = {word: _symbols(word, table) for word in words}
    unsettled = True
    while unsettled:  # a later word's merges can reach into an earlier word
        unsettled = False
        for symbols in spelled.values():
            parts = _apply(symbols, ranks)
            while len(parts) > 1:
                unsettled = True
                ranks[parts[0], parts[1]] = len(ranks)
                parts = _apply(symbols, ranks)
    return list(ranks)


def _symbols(word: str, table: Sequence[str]) -> tuple[str, ...]:
    letters = [table[byte] for byte in word.encode()]
    return (*letters[:-1], letters[-1] + WORD_END)


def _apply(symbols: tuple[str, ...], ranks: dict[tuple[str, str], int]) -> tuple[str, ...]:
    """Merge as BPE does: the pair of lowest rank first, at all its places, until none is left."""
    parts = list(symbols)
    while len(parts) > 1:
        pairs = list(pairwise(parts))
        best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        merged, index = [], 0
        while index < len(parts):
            if tuple(parts[index : index + 2]) == best:
                merged.append(parts[index] + parts[index + 1])
                index += 2
            else:
                merged.append(parts[index])
                index += 1
        parts = merged
    return tuple(parts)


def write_files(
    vocabulary: Mapping[str, int], merges: Iterable[tuple[str, ...]], folder: Path
) -> None:
    """Write vocab.json and merges.txt, which every version of transformers reads."""
    ordered = dict(sorted(vocabulary.items(), key=lambda item: item[1]))
    write_text(folder / "vocab.json", json.dumps(ordered, ensure_ascii=False))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    write_text(folder / "merges.txt", "\n".join(lines) + "\n")


def build_tokenizer(
    captions: Iterable[str],
    folder: Path,
    max_length: int = 32,
) -> Any:  # noqa: ANN401 - a transformers CLIPTokenizer
    """Write vocab.json and merges.txt to `folder` and return the CLIPTokenizer they make.

    Args:
        captions: texts whose every word becomes one token.
        folder: where the files go.
        max_length: tokens of the longest text, its start and end counted.
    """
    from transformers import CLIPTokenizer

    table = byte_symbols()
    merges = merges_of(words_of(captions))
    tokens = [*table, *(symbol + WORD_END for symbol in table)]
    tokens += [left + right for left, right in merges]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys([*tokens, START, END]))}
    write_files(vocabulary, merges, folder)
    return CLIPTokenizer.from_pretrained(str(folder), model_max_length=max_length)
