"""Learned vectors in the place of a prompt's first words, for encoders whose text tower takes them.

As in CoOp (Zhou et al., IJCV 2022): after the start token come the vectors, then the text.
"""

from __future__ import annotations

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
    """What an image-text encoder has where prompts can be tuned."""

    def word_vectors(self, text: str) -> torch.Tensor:
        """Return the vectors (n, W) that the text tower has for the tokens of a text."""

    def encode_contexts(self, texts: Sequence[str], contexts: torch.Tensor) -> torch.Tensor:
        """Encode texts that vectors stand before: (T, D) float32, not normalised, differentiable.

        `contexts` are (n, W), the same for all texts. With the vectors of some words this is the
        encoding of these words and the text; too long a text is an `InputError`.
        """


def context_encoder(encoder: ImageTextEncoder) -> ContextEncoder:
    """Return the encoder where its text tower takes vectors, else raise an `InputError`."""
    if not isinstance(encoder, ContextEncoder):
        raise InputError(
            f"encoder {encoder.name!r}: its text tower takes no vectors in the place of words, "
            "which CoOp and LoCoOp learn; choose a CLIP or a dual encoder"
        )
    return encoder


class ContextTowerEncoder(PatchTowerEncoder):
    """Towers of CLIP's kind, whose rows of tokens begin with a start token."""

    def word_vectors(self, text: str) -> torch.Tensor:
        """See `ContextEncoder`."""
        return vectors_of(self._token_rows([text])[0], self._word_embedding())

    def encode_contexts(self, texts: Sequence[str], contexts: torch.Tensor) -> torch.Tensor:
        """See `ContextEncoder`."""
        rows = with_room(self._token_rows(texts), texts, len(contexts), self._context)
        with standing_in(self._word_embedding(), contexts):
            return self._text_features(rows).float()

    def _word_embedding(self) -> torch.nn.Embedding:
        """The layer that turns token ids into vectors."""
        raise NotImplementedError


def vectors_of(row: Sequence[int], embedding: torch.nn.Embedding) -> torch.Tensor:
    """Return the vectors (n, W) of a row of tokens, without its start and end."""
    return embedding.weight[list(row[1:-1])].detach().float()


def with_room(
    rows: Sequence[Sequence[int]], texts: Sequence[str], room: int, limit: int
) -> list[list[int]]:
    """Put `room` more tokens after each row's start; which ones does not matter.

    A row that is then longer than `limit` is an `InputError`.
    """
    for row, text in zip(rows, texts, strict=True):
        if len(row) + room > limit:
            raise InputError(
                f"{text!r}: takes {len(row)} tokens and {room} learned vectors, and the text tower "
                f"{limit}; shorten it"
            )
    return [[row[0], *[row[1]] * room, *row[1:]] for row in rows]


@contextmanager
def standing_in(embedding: torch.nn.Embedding, contexts: torch.Tensor) -> Iterator[None]:
    """Replace the vectors after the first of each row that the layer looks up by `contexts`."""

    def replaced(module: Any, ids: Any, found: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        whole = contexts.to(found).expand(len(found), *contexts.shape)
        return torch.cat([found[:, :1], whole, found[:, 1 + len(contexts) :]], dim=1)

    hook = embedding.register_forward_hook(replaced)
    try:
        yield
    finally:
        hook.remove()
