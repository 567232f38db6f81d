"""The frozen sentence model that the embedded encoders share.

Directory of the model: transformers' layout of a BertModel; word embeddings may be stored as int8
with one scale per row, which halves the file.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synood.errors import CheckpointError, InputError
from synood.files import read_json
from synood.models.bert import Bert

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TENSORS = "model.safetensors"
_ROWS = "embeddings.word_embeddings.weight"
_STEPS, _SCALE = ".int8", ".scale"


class SentenceTower:
    """A BERT-type sentence encoder: mean of the last hidden states, unit length.

    `path` is the model's folder; weights and vocabulary are read at the first text.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self._path, self._device = Path(path), device
        self._config = read_json(self._path / "config.json")
        self.limit = int(self._config["max_position_embeddings"])

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """Encode texts into (N, S), unit length; each batch is padded to its longest text.

        Texts are sorted by length first, since padding costs as much as words.
        """
        ids = self.token_rows(texts)
        order = sorted(range(len(ids)), key=lambda index: (len(ids[index]), index))
        result = torch.empty(len(ids), int(self._config["hidden_size"]), device=self._device)
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            result[chosen] = self.pooled([ids[index] for index in chosen])
        return result

    def token_rows(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's token ids with start and end; too many are an `InputError`."""
        ids: list[list[int]] = [one.ids for one in self._tokenizer.encode_batch(list(texts))]
        for text, row in zip(texts, ids, strict=True):
            if len(row) > self.limit:
                raise InputError(
                    f"prompt of {len(row)} tokens ({text[:40]!r}...): the text tower takes "
                    f"{self.limit}; shorten it"
                )
        return ids

    @property
    def word_embedding(self) -> nn.Embedding:
        """The embedding layer of the text tower."""
        return self._model.embeddings.word_embeddings

    def pooled(self, rows: list[list[int]]) -> Tensor:
        """Encode token sequences into (N, S), of unit length, differentiable."""
        length = max(len(row) for row in rows)
        tokens = torch.tensor(
            [row + [0] * (length - len(row)) for row in rows], device=self._device
        )
        mask = torch.tensor(
            [[1] * len(row) + [0] * (length - len(row)) for row in rows], device=self._device
        )
        states: Tensor = self._model(tokens, mask)
        weight = mask[..., None].to(states.dtype)
        return F.normalize((states * weight).sum(1) / weight.sum(1), dim=-1)

    @cached_property
    @torch.inference_mode(mode=False)  # first asked for by an encoding, but gradients come later
    def _model(self) -> Bert:
        from safetensors.torch import load_file

        if self._config.get("hidden_act") != "gelu":
            raise CheckpointError(
                f"{self._path / 'config.json'}: hidden_act {self._config.get('hidden_act')!r} is "
                "not 'gelu', the one that is known here"
            )
        with torch.device("meta"):  # nothing is drawn that the file replaces
            model = Bert(self._config)
        state = unpack_rows(load_file(self._path / TENSORS))
        problems = model.load_state_dict(state, strict=False, assign=True)
        if problems.missing_keys or problems.unexpected_keys:
            raise CheckpointError(
                f"{self._path / TENSORS}: not the tensors of this model ({problems})"
            )
        return model.to(self._device).eval().requires_grad_(False)

    @cached_property
    def _tokenizer(self) -> Any:  # noqa: ANN401 - untyped library
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._path / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer


def pack_rows(state: Mapping[str, Tensor], rows: Sequence[str] = (_ROWS,)) -> dict[str, Tensor]:
    """Store the tensors `rows` (N, D) as int8 with a float16 scale per row, all else as float16."""
    packed = {name: value.half().contiguous() for name, value in state.items() if name not in rows}
    for name in rows:
        values = state[name].float()
        scale = values.abs().amax(dim=1, keepdim=True).clamp_min(1e-8).half()
        steps = (values / scale.float() * 127).round().clamp(-127, 127)
        packed |= {f"{name}{_STEPS}": steps.to(torch.int8), f"{name}{_SCALE}": scale}
    return packed


def unpack_rows(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo `pack_rows`; other tensors become float32."""
    packed = [name.removesuffix(_STEPS) for name in state if name.endswith(_STEPS)]
    parts = {f"{name}{end}" for name in packed for end in (_STEPS, _SCALE)}
    # copies, so that nobody computes with a file that may be written to
    plain = {
        name: value.to(torch.float32, copy=True)
        for name, value in state.items()
        if name not in parts
    }
    for name in packed:
        plain[name] = state[f"{name}{_STEPS}"].float() / 127 * state[f"{name}{_SCALE}"].float()
    return plain
