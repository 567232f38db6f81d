"""The language model that embeds the prompts of a flow-matching in-painter (Z-Image: Qwen3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from synood.errors import CheckpointError, InputError
from synood.models.checkpoints import load_model, load_part
from synood.models.tokens import BYTES, check_vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from synood.models._diffusers_layout import Layout

LONGEST = 512  # tokens of a prompt with the chat around it: the default of diffusers' pipelines


class ChatTokenizer:
    """A prompt, as a user's turn of a chat, to token ids."""

    def __init__(self, tokenizer: Any) -> None:  # noqa: ANN401 - transformers is untyped here
        self._tokenizer = tokenizer

    @classmethod
    def from_pretrained(
        cls, source: str | Path, vocabulary: int, revision: str | None
    ) -> ChatTokenizer:
        """Load the tokenizer of a checkpoint whose language model knows `vocabulary` tokens.

        Raises `CheckpointError` where files or its chat template are missing.
        """
        from transformers import Qwen2Tokenizer

        tokenizer = load_part(
            Qwen2Tokenizer.from_pretrained, source, subfolder="tokenizer", revision=revision
        )
        if len(tokenizer.get_vocab()) < BYTES:  # transformers makes an empty one of no files
            raise CheckpointError(f"{source}/tokenizer: the tokenizer's files are missing")
        if not getattr(tokenizer, "chat_template", None):
            raise CheckpointError(
                f"{source}/tokenizer: has no chat_template, which frames the prompt; the "
                "checkpoint is incomplete"
            )
        check_vocabulary(tokenizer, vocabulary, f"{source}/tokenizer")
        return cls(tokenizer)

    def ids(self, prompt: str) -> list[int]:
        """Return the token ids of a prompt, not padded and not cut."""
        text = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=True,
        )
        found: list[int] = self._tokenizer(text, verbose=False)["input_ids"]
        return found


class ChatPromptEncoder:
    """Prompts -> their hidden states in a language model, of the last layer but one.

    Prompts are embedded one by one, without padding, so an embedding depends on its own prompt.
    """

    def __init__(self, tokenizer: ChatTokenizer, model: Any) -> None:  # noqa: ANN401
        self._tokenizer = tokenizer
        self._model = model

    @classmethod
    def from_pretrained(cls, layout: Layout, device: str, dtype: torch.dtype) -> ChatPromptEncoder:
        """Load the language model and the tokenizer of a checkpoint."""
        from transformers import Qwen3Model

        source, revision = layout.source, layout.revision
        model = load_model(
            Qwen3Model,
            source,
            device=device,
            subfolder="text_encoder",
            revision=revision,
            dtype=dtype,
        )
        vocabulary = int(model.config.vocab_size)
        return cls(ChatTokenizer.from_pretrained(source, vocabulary, revision), model)

    @property
    def width(self) -> int:
        """D, the length of a token's embedding."""
        return int(self._model.config.hidden_size)

    def check(self, prompts: Sequence[str]) -> None:
        """Raise an `InputError` naming a prompt that is too long."""
        for prompt in prompts:
            self._checked_ids(prompt)

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> list[torch.Tensor]:
        """Embed each prompt as (L, D), with L its own number of tokens."""
        return [self._embed(prompt) for prompt in prompts]

    def _embed(self, prompt: str) -> torch.Tensor:
        ids = torch.tensor([self._checked_ids(prompt)], device=self._model.device)
        output = self._model(input_ids=ids, output_hidden_states=True, use_cache=False)
        embedded: torch.Tensor = output.hidden_states[-2][0]
        return embedded

    def _checked_ids(self, prompt: str) -> list[int]:
        ids = self._tokenizer.ids(prompt)
        if len(ids) > LONGEST:
            raise InputError(
                f'the prompt "{prompt}" takes {len(ids)} tokens and the in-painting model '
                f"{LONGEST}; shorten it"
            )
        return ids
