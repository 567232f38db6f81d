"""Prompts -> token ids of a text tower's vocabulary; a prompt too long is refused, not cut."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from synood.errors import CheckpointError, InputError
from synood.models.checkpoints import first_file, load_file, load_part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

BYTES = 256  # a byte-level vocabulary has at least one token for each
SENTENCEPIECE = "spiece.model"
LEGACY_END = 2  # in old configurations, whatever the tokenizer; it stands for the largest id
VOCABULARIES = (
    *("tokenizer.json", "vocab.txt", "vocab.json", SENTENCEPIECE, "sentencepiece.bpe.model"),
    "tokenizer.model",
)


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


def siglip_tokenizer(source: str | Path, revision: str | None = None) -> Any:  # noqa: ANN401
    """Load the tokenizer of SigLIP (a sentencepiece model) or of SigLIP 2 (a tokenizer.json).

    The files of SigLIP 2 name Gemma's tokenizer, which keeps capitals; the towers were trained on
    lower-case text (SigLIP 2, §2), which transformers' Siglip2Tokenizer respects.
    """
    import transformers

    if first_file(source, (SENTENCEPIECE,), revision) is None:
        load_file(source, "tokenizer.json", revision)  # without it a tokenizer of five tokens loads
        return load_part(transformers.Siglip2Tokenizer.from_pretrained, source, revision=revision)
    with _sentencepiece("SigLIP"):
        loader = transformers.SiglipTokenizer.from_pretrained
        return load_part(loader, source, revision=revision)


def named_tokenizer(source: str | Path, revision: str | None = None) -> Any:  # noqa: ANN401
    """Load the tokenizer that a checkpoint's files name.

    Where there is no vocabulary, transformers 5 returns a tokenizer of a few tokens; that is a
    `CheckpointError`. Code that comes with a checkpoint is not run.
    """
    from transformers import AutoTokenizer

    if first_file(source, VOCABULARIES, revision) is None:
        raise CheckpointError(f"{source}: its vocabulary is missing ({', '.join(VOCABULARIES)})")
    with _sentencepiece(str(source)):
        loader = AutoTokenizer.from_pretrained
        return load_part(loader, source, revision=revision, trust_remote_code=False)


@contextmanager
def _sentencepiece(whose: str) -> Iterator[None]:
    """Say what to install where a vocabulary needs sentencepiece."""
    try:
        yield
    except CheckpointError as error:
        if isinstance(error.__cause__, ImportError):
            raise InputError(
                f"the tokenizer of {whose} needs sentencepiece: pip install 'synood[siglip]'"
            ) from None
        raise


def check_end(end: object, tokenizer: Any, place: str, *, legacy: bool = True) -> None:  # noqa: ANN401
    """Refuse a text tower that reads its feature at another token than the tokenizer's end.

    With `legacy`, `LEGACY_END` will do as well.
    """
    if end != tokenizer.eos_token_id and not (legacy and end == LEGACY_END):
        raise CheckpointError(
            f"{place}: eos_token_id is {end} in config.json and {tokenizer.eos_token_id} in the "
            "tokenizer; text features are read at that token"
        )


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
