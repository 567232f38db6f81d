"""Prompts -> token ids of CLIP's byte-level vocabulary; a prompt too long is refused, not cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from synood.errors import CheckpointError, InputError
from synood.models.checkpoints import load_part

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BYTES = 256  # a byte-level vocabulary has at least one token for each


def load_tokenizer(
    source: str | Path, vocabulary: int, *, subfolder: str = "", revision: str | None = None
) -> Any:  # noqa: ANN401 - a transformers tokenizer, untyped here
    """Load a CLIPTokenizer for a text tower with `vocabulary` embeddings.

    Where its files are missing, transformers 5 silently returns a tokenizer of three tokens; that
    and a vocabulary larger than the tower's are a `CheckpointError`.
    """
    from transformers import CLIPTokenizer

    tokenizer = load_part(
        CLIPTokenizer.from_pretrained, source, subfolder=subfolder, revision=revision
    )
    place = f"{source}/{subfolder}" if subfolder else str(source)
    if len(tokenizer.get_vocab()) < BYTES:
        raise CheckpointError(f"{place}: the tokenizer's vocab.json and merges.txt are missing")
    check_vocabulary(tokenizer, vocabulary, place)
    return tokenizer


def check_vocabulary(tokenizer: Any, vocabulary: int, place: str) -> None:  # noqa: ANN401
    """Raise a `CheckpointError` if a tokenizer has ids beyond a tower's embeddings."""
    largest = max(tokenizer.get_vocab().values())
    if largest >= vocabulary:
        raise CheckpointError(
            f"{place}: the tokenizer's ids go up to {largest} and the text tower has "
            f"{vocabulary} embeddings; they belong to different models"
        )


def token_rows(
    tokenizer: Any,  # noqa: ANN401 - a transformers tokenizer, untyped here
    prompts: Sequence[str],
    context: int,
) -> list[list[int]]:
    """Return the token ids of each prompt with start and end tokens, not padded.

    Raises `InputError` naming the first prompt of more than `context` tokens.
    """
    if not prompts:
        return []
    rows: list[list[int]] = tokenizer(list(prompts), verbose=False)["input_ids"]
    for prompt, row in zip(prompts, rows, strict=True):
        if len(row) > context:
            raise InputError(
                f'the prompt "{prompt}" takes {len(row)} tokens and the text tower {context}; '
                "shorten it"
            )
    return rows


def padded(
    rows: Sequence[Sequence[int]], length: int, pad: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-pad token rows to (B, length) ids and the attention mask, 1 at tokens."""
    ids = torch.full((len(rows), length), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        mask[index, : len(row)] = 1
    return ids, mask
