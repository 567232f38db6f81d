"""The network of a sentence model: BERT without its pooler, and no more than that.

Tensors have the names of transformers' `BertModel`, whose arithmetic this is.
Importing that class takes longer than a small text tower takes to read, and to encode some names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Mapping


class Bert(nn.Module):
    """Token ids (N, L) and their mask, 0 for padding, to the last hidden states (N, L, S)."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        layers = (_Layer(config) for _ in range(int(config["num_hidden_layers"])))
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return the last hidden states; see the class."""
        states: Tensor = self.embeddings(tokens)
        count, length = tokens.shape
        seen = None
        if not mask.all():
            seen = mask.bool()[:, None, None].expand(count, 1, length, length)
        for layer in cast("nn.ModuleList", self.encoder["layer"]):
            states = layer(states, seen)
        return states


class _Embeddings(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width = int(config["hidden_size"])
        self.word_embeddings = nn.Embedding(int(config["vocab_size"]), width)
        self.position_embeddings = nn.Embedding(int(config["max_position_embeddings"]), width)
        self.token_type_embeddings = nn.Embedding(int(config["type_vocab_size"]), width)
        self.LayerNorm = _norm(config)

    def forward(self, tokens: Tensor) -> Tensor:
        first = self.token_type_embeddings(torch.zeros_like(tokens))
        places = self.position_embeddings(torch.arange(tokens.shape[1], device=tokens.device)[None])
        states: Tensor = self.LayerNorm(self.word_embeddings(tokens) + first + places)
        return states


class _Layer(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width, wide = int(config["hidden_size"]), int(config["intermediate_size"])
        self.heads = int(config["num_attention_heads"])
        parts = {name: nn.Linear(width, width) for name in ("query", "key", "value")}
        out = {"dense": nn.Linear(width, width), "LayerNorm": _norm(config)}
        self.attention = nn.ModuleDict({"self": nn.ModuleDict(parts), "output": nn.ModuleDict(out)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, wide)})
        self.output = nn.ModuleDict({"dense": nn.Linear(wide, width), "LayerNorm": _norm(config)})

    def forward(self, states: Tensor, seen: Tensor | None) -> Tensor:
        shape = (*states.shape[:2], self.heads, -1)
        parts = cast("nn.ModuleDict", self.attention["self"])
        query, key, value = (
            parts[name](states).view(shape).transpose(1, 2) for name in ("query", "key", "value")
        )
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        found = found.transpose(1, 2).contiguous().reshape(states.shape)
        out = cast("nn.ModuleDict", self.attention["output"])
        states = out["LayerNorm"](out["dense"](found) + states)
        wide = F.gelu(self.intermediate["dense"](states))
        result: Tensor = self.output["LayerNorm"](self.output["dense"](wide) + states)
        return result


def _norm(config: Mapping[str, Any]) -> nn.LayerNorm:
    return nn.LayerNorm(int(config["hidden_size"]), eps=float(config["layer_norm_eps"]))
