"""Class names and negative labels as text features: all that a zero-shot detector is made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from synood.errors import InputError
from synood.labels.mining import mine_negatives
from synood.labels.prompts import PROMPT_SETS
from synood.labels.wordnet import Word
from synood.scores import normalise

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from synood.labels.prompts import PromptSet
    from synood.models.clip import ImageTextEncoder

    Negatives = str | Path | Sequence[str | Word]
    Texts = tuple[tuple[str, ...], NDArray[np.float32]]


def checked_class_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names stripped; none, an empty or a repeated one is an `InputError`.

    Names that differ only in case or spacing count as one, since they mean the same class.

    >>> checked_class_names([" cat", "dog"])
    ('cat', 'dog')
    """
    if isinstance(names, str):
        raise InputError(f"class names: give a list of names, not the one text {names!r}")
    cleaned = tuple(" ".join(name.split()) for name in names)
    if not cleaned:
        raise InputError("class names: the list is empty; give at least one name")
    seen: dict[str, int] = {}
    for number, name in enumerate(cleaned, start=1):
        if not name:
            raise InputError(f"class names: number {number} is empty; name it or remove it")
        first = seen.setdefault(name.casefold(), number)
        if first != number:
            raise InputError(
                f"class names: {name!r} is there twice (numbers {first} and {number}); "
                "rename or remove one"
            )
    return cleaned


def find_prompt_set(name: str) -> PromptSet:
    """Return a named prompt set; an unknown name is an `InputError` that lists the known."""
    if name not in PROMPT_SETS:
        raise InputError(f"prompt set {name!r} is unknown; use one of {', '.join(PROMPT_SETS)}")
    return PROMPT_SETS[name]


def encode_unit(encoder: ImageTextEncoder, texts: Sequence[str]) -> NDArray[np.float32]:
    """Encode texts into (N, D) float32 of unit length."""
    return normalise(encoder.encode_texts(texts), "text features")


def mined_negatives(
    words: Sequence[Word],
    encoder: ImageTextEncoder,
    prompts: PromptSet,
    class_names: Sequence[str],
    class_features: NDArray[np.float32],
    share: float,
    quantile: float,
) -> Texts:
    """Return the prompts and features of the words least like the classes (NegLabel §3)."""
    texts = [prompts.word_prompt(word) for word in words]
    features = encode_unit(encoder, texts)
    kept = mine_negatives(words, features, class_features, share, quantile, exclude=class_names)
    if not len(kept):
        raise InputError("negative labels: mining kept none; give more words or a larger share")
    return tuple(texts[row] for row in kept), features[kept]


def given_prompts(
    negatives: Negatives, prompts: PromptSet, class_names: Sequence[str]
) -> tuple[str, ...]:
    """Turn given negative labels into prompts, in their order, each once, no class among them."""
    if isinstance(negatives, (str, Path)):
        negatives = _read_lines(Path(negatives))
    words = [Word(entry, "noun", "") if isinstance(entry, str) else entry for entry in negatives]
    classes = {name.casefold() for name in prompts.class_prompts(class_names)}
    classes |= {name.casefold() for name in class_names}
    texts = {
        _as_prompt(word, prompts): None
        for word in words
        if word.text.strip() and word.text.strip().casefold() not in classes
    }
    if not texts:
        raise InputError("negative labels: none is left; give words that are no class names")
    return tuple(texts)


def _as_prompt(word: Word, prompts: PromptSet) -> str:
    """Put a word into its template; a text that has the template's form is a prompt already."""
    text = word.text.strip()
    for template in (prompts.noun, prompts.adjective):
        start, _, end = template.partition("{}")
        if len(text) > len(start + end) and text.startswith(start) and text.endswith(end):
            return text
    return prompts.word_prompt(replace(word, text=text))


def _read_lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as a text of one word a line ({error})") from None
    return [line.strip() for line in lines if line.strip()]
