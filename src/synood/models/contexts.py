"""Context vectors of learned prompts: embeddings that precede a text, as in CoOp.

Zhou et al., IJCV 2022: the start token, then the context vectors, then the text.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch

from synood.errors import InputError
from synood.models.patches import PatchTowerEncoder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synood.models.clip import ImageTextEncoder


@runtime_checkable
class ContextEncoder(Protocol):
    """An image-text encoder whose prompts can be learned."""

    def token_embeddings(self, text: str) -> torch.Tensor:
        """Return the text tower's embeddings (n, W) of the tokens of a text."""

    def encode_with_context(self, texts: Sequence[str], contexts: torch.Tensor) -> torch.Tensor:
        """Encode texts after context vectors: (T, D) float32, unnormalised, differentiable.

        `contexts` are (n, W) for all texts, or (T, n, W) for each its own. The embeddings of some
        words as `contexts` give the encoding of these words and the text. A text that is too long
        is an `InputError`.
        """


def context_encoder(encoder: ImageTextEncoder) -> ContextEncoder:
    """Return the encoder if its prompts can be learned, else raise an `InputError`."""
    if not isinstance(encoder, ContextEncoder):
        raise InputError(
            f"encoder {encoder.name!r}: its text tower takes no context vectors, which CoOp and "
            "LoCoOp learn; choose a CLIP or a dual encoder"
        )
    return encoder


class ContextTowerEncoder(PatchTowerEncoder):
    """An encoder like CLIP, whose token sequences begin with a start token."""

    def token_embeddings(self, text: str) -> torch.Tensor:
        """See `ContextEncoder`."""
        return embeddings_of(self._token_rows([text])[0], self._token_embedding())

    def encode_with_context(self, texts: Sequence[str], contexts: torch.Tensor) -> torch.Tensor:
        """See `ContextEncoder`."""
        rows = with_placeholders(self._token_rows(texts), texts, contexts.shape[-2], self._context)
        with replaced_embeddings(self._token_embedding(), contexts):
            return self._text_features(rows).float()

    @abstractmethod
    def _token_embedding(self) -> torch.nn.Embedding:
        """Return the embedding layer of the text tower."""


def embeddings_of(row: Sequence[int], embedding: torch.nn.Embedding) -> torch.Tensor:
    """Return the embeddings (n, W) of a token sequence without its start and end tokens."""
    return embedding.weight[list(row[1:-1])].detach().float()


def with_placeholders(
    rows: Sequence[Sequence[int]], texts: Sequence[str], count: int, limit: int
) -> list[list[int]]:
    """Insert `count` placeholder tokens after the start token of each row.

    A row that is then longer than `limit` is an `InputError`.
    """
    for row, text in zip(rows, texts, strict=True):
        if len(row) + count > limit:
            raise InputError(
                f"{text!r}: takes {len(row)} tokens and {count} learned vectors, and the text "
                f"tower {limit}; shorten it"
            )
    return [[row[0], *[row[1]] * count, *row[1:]] for row in rows]


@contextmanager
def replaced_embeddings(embedding: torch.nn.Embedding, contexts: torch.Tensor) -> Iterator[None]:
    """Let an embedding layer return `contexts` in place of the tokens after the first.

    They are (n, W), or (T, n, W) for a batch of T.
    """
    count = contexts.shape[-2]

    def replaced(module: Any, ids: Any, found: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        whole = contexts.to(found).expand(len(found), *contexts.shape[-2:])
        return torch.cat([found[:, :1], whole, found[:, 1 + count :]], dim=1)

    hook = embedding.register_forward_hook(replaced)
    try:
        yield
    finally:
        hook.remove()
