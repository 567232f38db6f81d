"""The frozen sentence model that two embedded encoders share, and sentences whose features ship.

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
from synood.files import read_json, read_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TENSORS = "model.safetensors"
KNOWN, KNOWN_TEXTS = "sentences.safetensors", "sentences.txt"
_ROWS = "embeddings.word_embeddings.weight"


class SentenceTower:
    """A BERT-type sentence encoder: mean of the last hidden states, unit length.

    `path` is the model's folder; nothing is read before the first text. `known` is a folder with
    the features of texts that are encoded often (`KnownSentences`): for them the shipped features
    are the definition, so a text has the same feature with and without the model at hand.
    """

    def __init__(self, path: Path, device: str = "cpu", known: Path | None = None) -> None:
        self._path, self._device, self._known_path = Path(path), device, known
        self._config = read_json(self._path / "config.json")
        self.limit = int(self._config["max_position_embeddings"])

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """Encode texts into (N, S), unit length; each batch is padded to its longest text.

        Texts are sorted by length first, since padding costs as much as words.
        """
        result = torch.empty(len(texts), int(self._config["hidden_size"]), device=self._device)
        rows = [self._known.get(text) for text in texts] if self._known else [None] * len(texts)
        known = [place for place, row in enumerate(rows) if row is not None]
        if known:
            found = torch.tensor([rows[place] for place in known])
            result[known] = self._known_features[found].to(self._device)
        new = [place for place, row in enumerate(rows) if row is None]
        ids = self.token_rows([texts[place] for place in new]) if new else []
        order = sorted(range(len(ids)), key=lambda index: (len(ids[index]), index))
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            result[[new[index] for index in chosen]] = self.pooled([ids[i] for i in chosen])
        return result

    def token_rows(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's token ids with start and end; too many are an `InputError`."""
        ids: list[list[int]] = self._tokenizer(list(texts), truncation=False)["input_ids"]
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
        layer: nn.Embedding = self._model.get_input_embeddings()
        return layer

    def pooled(self, rows: list[list[int]]) -> Tensor:
        """Encode token sequences into (N, S), of unit length, differentiable."""
        length = max(len(row) for row in rows)
        tokens = torch.tensor(
            [row + [0] * (length - len(row)) for row in rows], device=self._device
        )
        mask = torch.tensor(
            [[1] * len(row) + [0] * (length - len(row)) for row in rows], device=self._device
        )
        states = self._model(input_ids=tokens, attention_mask=mask).last_hidden_state
        weight = mask[..., None].to(states.dtype)
        return F.normalize((states * weight).sum(1) / weight.sum(1), dim=-1)

    @cached_property
    @torch.inference_mode(mode=False)  # first asked for by an encoding, but gradients come later
    def _model(self) -> Any:  # noqa: ANN401 - untyped library
        from safetensors.torch import load_file
        from transformers import BertConfig, BertModel

        model = BertModel(BertConfig.from_pretrained(self._path), add_pooling_layer=False)
        state = unpack_rows(load_file(self._path / TENSORS))
        problems = model.load_state_dict(state, strict=False)
        missing = [name for name in problems.missing_keys if "position_ids" not in name]
        if missing or problems.unexpected_keys:
            raise CheckpointError(
                f"{self._path / TENSORS}: not the tensors of this model ({problems})"
            )
        return model.to(self._device).eval().requires_grad_(False)

    @cached_property
    def _tokenizer(self) -> Any:  # noqa: ANN401 - untyped library
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self._path)

    @cached_property
    def _known(self) -> dict[str, int]:
        """The row of each text whose feature ships."""
        if self._known_path is None:
            return {}
        texts = read_text(self._known_path / KNOWN_TEXTS).splitlines()
        return {text: row for row, text in enumerate(texts)}

    @cached_property
    def _known_features(self) -> Tensor:
        """The shipped features (K, S), of unit length."""
        from safetensors.torch import load_file

        assert self._known_path is not None
        path = self._known_path / KNOWN
        features = unpack_sentences(load_file(path))
        if len(features) != len(self._known):
            raise CheckpointError(
                f"{path}: {len(features)} features for the {len(self._known)} texts of "
                f"{KNOWN_TEXTS}; restore both"
            )
        return features


def pack_sentences(features: Tensor) -> dict[str, Tensor]:
    """Store sentence features (K, S) as int8: a direction needs no scale."""
    steps = features / features.abs().amax(dim=1, keepdim=True).clamp_min(1e-8) * 127
    return {"sentences": steps.round().to(torch.int8)}


def unpack_sentences(state: Mapping[str, Tensor]) -> Tensor:
    """Undo `pack_sentences` but for the rounding: (K, S) of unit length."""
    return F.normalize(state["sentences"].float(), dim=-1)


def pack_rows(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Store word embeddings as int8 with a float16 scale per row, all else as float16."""
    packed = {name: value.half().contiguous() for name, value in state.items() if name != _ROWS}
    rows = state[_ROWS].float()
    scale = rows.abs().amax(dim=1, keepdim=True).clamp_min(1e-8).half()
    packed[f"{_ROWS}.int8"] = (rows / scale.float() * 127).round().clamp(-127, 127).to(torch.int8)
    packed[f"{_ROWS}.scale"] = scale
    return packed


def unpack_rows(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo `pack_rows`; other tensors become float32."""
    plain = {name: value.float() for name, value in state.items() if not name.startswith(_ROWS)}
    if f"{_ROWS}.int8" in state:
        plain[_ROWS] = state[f"{_ROWS}.int8"].float() / 127 * state[f"{_ROWS}.scale"].float()
    elif _ROWS in state:
        plain[_ROWS] = state[_ROWS].float()
    return plain
