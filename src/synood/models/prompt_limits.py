"""Which prompts fit a model's text towers, from its tokenizers alone: no weights are loaded."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from synood.errors import InputError
from synood.models._chat_prompting import LONGEST, ChatTokenizer
from synood.models._diffusers_layout import read_layout
from synood.models.checkpoints import load_part
from synood.models.tokens import load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


class PromptLimits:
    """How many tokens a prompt has in each of a model's text towers, and how many it may have."""

    def __init__(self, towers: Sequence[tuple[Callable[[str], int], int]]) -> None:
        self._towers = towers

    @classmethod
    def from_pretrained(cls, source: str | Path, revision: str | None = None) -> PromptLimits:
        """Read tokenizers and configurations of a diffusers checkpoint."""
        layout = read_layout(source, revision)
        if layout.is_flow:
            return cls([_chat_tower(source, revision)])
        from transformers import CLIPTextConfig

        at = {"revision": revision}
        towers = []
        for end in ("", "_2") if layout.has_two_towers else ("",):
            read = CLIPTextConfig.from_pretrained
            config = load_part(read, source, subfolder=f"text_encoder{end}", **at)
            tokenizer = load_tokenizer(source, config.vocab_size, subfolder=f"tokenizer{end}", **at)
            limit = min(tokenizer.model_max_length, config.max_position_embeddings)
            towers.append((partial(_length, tokenizer), int(limit)))
        return cls(towers)

    def fits(self, prompt: str) -> bool:
        """Whether every text tower takes the whole prompt."""
        return all(length(prompt) <= limit for length, limit in self._towers)

    def check_template(self, template: str) -> None:
        """Raise an `InputError` for a template that leaves no room for a description."""
        if not self.fits(template.replace("{}", "word")):
            limit = min(limit for _, limit in self._towers)
            raise InputError(
                f"describe.template: {template!r} takes the {limit} tokens of the in-painting "
                "model's text tower for itself; shorten it"
            )

    def shortened(self, text: str, prompt_of: Callable[[str], str]) -> str:
        """Return the longest beginning of a text whose prompt fits.

        It ends between two items ("thing, thing"), else between two words, else within a word.
        """
        if self.fits(prompt_of(text)):
            return text
        return next((cut for cut in _beginnings(text) if self.fits(prompt_of(cut))), text[:0])


def _length(tokenizer: Any, prompt: str) -> int:  # noqa: ANN401 - of transformers
    return len(tokenizer(prompt, verbose=False)["input_ids"])


def _chat_tower(source: str | Path, revision: str | None) -> tuple[Callable[[str], int], int]:
    """Return the count and the limit of a flow-matching model's language model."""
    from transformers import AutoConfig

    config = load_part(
        AutoConfig.from_pretrained, source, subfolder="text_encoder", revision=revision
    )
    tokenizer = ChatTokenizer.from_pretrained(source, int(config.vocab_size), revision)
    return lambda prompt: len(tokenizer.ids(prompt)), LONGEST


def _beginnings(text: str) -> Iterator[str]:
    """Yield shorter and shorter beginnings of a text: of its items, of its words, of its letters.

    >>> [*_beginnings("red sofa, old lamp")][:3]
    ['red sofa', 'red', 're']
    """
    items = text.split(", ")
    yield from (", ".join(items[:count]) for count in range(len(items) - 1, 0, -1))
    words = items[0].split()
    yield from (" ".join(words[:count]) for count in range(len(words) - 1, 0, -1))
    first = words[0] if words else ""
    yield from (first[:count] for count in range(len(first) - 1, 0, -1))
