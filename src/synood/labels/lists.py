"""Lists of negative labels: files of one label per line, and two that were released for ImageNet.

A line is a word, a prompt of a named set ("the nice rope", "This is a mossy photo"), or a word and
its part of speech ("mossy view<TAB>adjective"). Of a prompt the word is kept, so a list works with
any prompt set; with its own, the prompts come out unchanged.
"""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from synood.errors import InputError
from synood.files import fingerprint, read_json, read_text, text_lines
from synood.labels.class_names import is_text
from synood.labels.forms import NameForms
from synood.labels.prompts import PROMPT_SETS
from synood.labels.wordnet import Word, read_wordnet, shipped_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    GivenNegatives: TypeAlias = str | Path | Sequence[str | Word]

# The 10,499 labels that NegLabel mined for ImageNet with CLIP ViT-B/16, as released: commit
# 3253db6, selected_neg_labels/selected_neg_labels_in1k_10k.txt (Apache-2.0). And the 6,370 that
# Qwen2.5-14B left of CSP's in NegRefine: commit 72e4b82, neg_labels_noun.txt, then
# neg_labels_adj.txt with their part of speech, both of output/imagenet/seed_0 (MIT).
SHIPPED_LISTS = {name: f"{name}.txt.xz" for name in ("neglabel-imagenet", "negrefine-imagenet")}
_MARKS = '[]"'  # left over in NegLabel's word files: "[aqueous", 'uranium 235"'


@dataclass(frozen=True)
class LabelList:
    """Negative labels as words, without repeats, in order, and the name of their source."""

    source: str
    words: tuple[Word, ...]

    @property
    def id(self) -> str:
        """The source with sixteen hex digits of the contents."""
        contents = [(word.text, word.pos) for word in self.words]
        return f"{self.source} {fingerprint(contents)}"

    @property
    def damaged(self) -> tuple[Word, ...]:
        """Words with a stray mark in them, kept as they are since published features have it."""
        return tuple(word for word in self.words if repaired(word.text) != word.text)

    def without(self, names: Iterable[str]) -> tuple[LabelList, str]:
        """Leave out the words that are forms of `names`; the sentence says how many.

        Raises:
            InputError: no word is left.
        """
        taken = NameForms(names)
        words = tuple(word for word in self.words if not taken.holds(word))
        if not words:
            raise InputError("negative labels: none left; give words other than the class names")
        left = LabelList(self.source, words)
        sentence = f"{len(words):,} negative labels from {self.source}"
        if len(words) < len(self.words):
            sentence += f", {len(self.words) - len(words):,} left out as class names"
        if left.damaged:
            sentence += f", {len(left.damaged):,} with a stray [ or quotation mark kept as they are"
        return left, f"{sentence}."


def read_labels(name_or_path: str | Path) -> LabelList:
    """Read a list by the name of one that ships (`SHIPPED_LISTS`) or from a text file.

    Raises:
        InputError: the file is not readable as text or holds no label.
    """
    name = str(name_or_path)
    if name in SHIPPED_LISTS:
        packed = resources.files("synood.labels").joinpath(SHIPPED_LISTS[name]).read_bytes()
        return label_list(lzma.decompress(packed).decode().splitlines(), name)
    path = Path(name_or_path)
    if not path.exists():
        raise InputError(
            f"{path}: no such file; give a text file with one word per line, or "
            + " or ".join(SHIPPED_LISTS)
        )
    entries = read_json(path) if path.suffix.lower() == ".json" else text_lines(read_text(path))
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise InputError(f"{path}: needs a JSON list of negative labels, or one per line of a .txt")
    return label_list(entries, path.name)


def given_labels(negatives: GivenNegatives) -> LabelList:
    """Read negative labels given as words or prompts, or as the name or path of a list."""
    if isinstance(negatives, (str, Path)):
        return read_labels(negatives)
    return label_list(negatives, "a list")


def read_words(name_or_path: str | Path) -> tuple[Word, ...]:
    """Read candidates: "wordnet" (in the package), a WordNet database directory or a text file."""
    if str(name_or_path) == "wordnet":
        return shipped_words()
    path = Path(name_or_path)
    return read_wordnet(path) if path.is_dir() else read_labels(path).words


def label_list(entries: Iterable[str | Word], source: str) -> LabelList:
    """Read entries as words; empty and repeated ones are skipped."""
    words: dict[tuple[str, str], Word] = {}
    for entry in entries:
        word = read_label(entry) if isinstance(entry, str) else entry
        if not isinstance(word, Word) or not is_text(word.text.strip()):
            raise InputError(f"negative labels from {source}: {entry!r} is not a word")
        if word.text.strip():
            words.setdefault((word.text, word.pos), word)
    return LabelList(source, tuple(words.values()))


def read_label(line: str) -> Word:
    r"""Read the word of one line.

    >>> read_label("This is a mossy photo")
    Word(text='mossy', pos='adjective', lexname='')
    >>> read_label("rain barrel")
    Word(text='rain barrel', pos='noun', lexname='')
    """
    text, tab, pos = line.strip().partition("\t")
    if tab:
        return Word(text.strip(), "adjective" if pos.strip() == "adjective" else "noun", "")
    for prompts in PROMPT_SETS.values():
        if len(prompts.noun) == len(prompts.adjective) == 1:
            for template, is_noun in ((prompts.noun[0], True), (prompts.adjective[0], False)):
                start, _, end = template.partition("{}")
                if len(text) > len(start + end) and text.startswith(start) and text.endswith(end):
                    word = text[len(start) : len(text) - len(end)]
                    return Word(word.strip(), "noun" if is_noun else "adjective", "")
    return Word(text, "noun", "")


def label_line(word: Word, label: str) -> str:
    """Return a line that `read_label` reads as `word`: its prompt, or word and part of speech."""
    return label if read_label(label) == word or word.pos == "noun" else f"{label}\t{word.pos}"


def repaired(text: str) -> str:
    """Return a word without stray marks: "[aqueous" -> "aqueous"; "[a] b" stays."""
    paired = text.count("[") == text.count("]") and text.count('"') % 2 == 0
    return text if paired else text.strip(_MARKS)
