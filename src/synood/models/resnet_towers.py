"""CLIP's ResNet image tower and its text tower, with the parameter names of OpenAI and OpenCLIP.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
§2.4; the architecture as in openai/CLIP, clip/model.py: a stem of three convolutions, average
pooling in front of every convolution with a stride, and attention for the last pooling.
transformers has no class for it, and open_clip needs torchvision.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Mapping

EXPANSION = 4  # output channels of a block / inner channels
SHRINK = 32  # side of a cell of the last feature map in pixels
HEAD_WIDTH = 64  # channels of one attention head


@dataclass(frozen=True)
class Sizes:
    """The architecture, as the shapes of a checkpoint's tensors determine it."""

    blocks: tuple[int, int, int, int]
    width: int
    image_size: int
    dim: int
    context: int
    vocabulary: int
    text_width: int
    text_layers: int

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Sizes:
        """Read the sizes; a `KeyError` names the first tensor that is missing."""

        def count(pattern: str) -> int:
            found = [int(match[1]) for name in tensors if (match := re.match(pattern, name))]
            return max(found, default=-1) + 1

        cells = len(tensors["visual.attnpool.positional_embedding"]) - 1
        vocabulary, text_width = tensors["token_embedding.weight"].shape
        stages = [count(rf"visual\.layer{stage}\.(\d+)\.") for stage in (1, 2, 3, 4)]
        return cls(
            blocks=(stages[0], stages[1], stages[2], stages[3]),
            width=len(tensors["visual.layer1.0.conv1.weight"]),
            image_size=math.isqrt(cells) * SHRINK,
            dim=tensors["text_projection"].shape[1],
            context=len(tensors["positional_embedding"]),
            vocabulary=vocabulary,
            text_width=text_width,
            text_layers=count(r"transformer\.resblocks\.(\d+)\."),
        )


class Bottleneck(nn.Module):
    """Three convolutions and a shortcut; a stride is average pooling before the last."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * EXPANSION
        self.stride = stride
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            convolution = nn.Conv2d(inputs, outputs, 1, bias=False)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, 4 width, H / stride, W / stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(self._pooled(y)))
        shortcut = x if self.downsample is None else self.downsample(self._pooled(x))
        return F.relu(y + shortcut)

    def _pooled(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.stride) if self.stride > 1 else x


class AttentionPool(nn.Module):
    """Attention pooling: the query is the mean of all cells, keys are the mean and the cells."""

    def __init__(self, cells: int, width: int, dim: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.zeros(cells + 1, width))
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        self.c_proj = nn.Linear(width, dim)
        self._heads = width // HEAD_WIDTH

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, h, w) -> (N, dim)."""
        cells = x.flatten(2).transpose(1, 2)
        cells = torch.cat([cells.mean(1, keepdim=True), cells], dim=1) + self.positional_embedding
        query, key, value = (
            rows.unflatten(2, (self._heads, -1)).transpose(1, 2)
            for rows in (self.q_proj(cells[:, :1]), self.k_proj(cells), self.v_proj(cells))
        )
        seen = F.scaled_dot_product_attention(query, key, value)
        pooled: Tensor = self.c_proj(seen.transpose(1, 2).flatten(1))
        return pooled

    def local(self, x: Tensor) -> Tensor:
        """(N, width, h, w) -> (N, h * w, dim): each cell's value vector, as in GL-MCM.

        Miyai et al., GL-MCM, clip/model.py:94-98: no attention, no positional embedding.
        """
        cells: Tensor = self.c_proj(self.v_proj(x.flatten(2).transpose(1, 2)))
        return cells


class ImageTower(nn.Module):
    """OpenAI's "modified ResNet": (N, 3, S, S) -> (N, D)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.width
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _stage(sizes.blocks[stage], width, stage) for stage in range(4)
        )
        inputs = width * 8 * EXPANSION
        self.attnpool = AttentionPool((sizes.image_size // SHRINK) ** 2, inputs, sizes.dim)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, S, S), normalised -> (N, D)."""
        pooled: Tensor = self.attnpool(self._cells(x))
        return pooled

    def local(self, x: Tensor) -> Tensor:
        """(N, 3, S, S), normalised -> (N, L, D), one feature per cell of the last stage."""
        return self.attnpool.local(self._cells(x))

    def _cells(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.relu(self.bn3(self.conv3(x)))
        x = F.avg_pool2d(x, 2)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return x


def _stage(blocks: int, width: int, stage: int) -> nn.Sequential:
    """Return the blocks of one resolution; the first halves it, except in the first stage."""
    inside = width * 2**stage
    inputs = inside * EXPANSION // 2 if stage else width
    first = Bottleneck(inputs, inside, stride=2 if stage else 1)
    rest = (Bottleneck(inside * EXPANSION, inside, stride=1) for _ in range(1, blocks))
    return nn.Sequential(first, *rest)


class TextBlock(nn.Module):
    """A pre-norm transformer block with causal attention."""

    def __init__(self, width: int, quick: bool) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, width // HEAD_WIDTH, batch_first=True)
        self.mlp = nn.ModuleDict(
            {"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)}
        )
        self._quick = quick

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(N, L, width) -> (N, L, width); `mask` is True at masked positions."""
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, attn_mask=mask, need_weights=False)[0]
        y = self.mlp["c_fc"](self.ln_2(x))
        y = y * torch.sigmoid(1.702 * y) if self._quick else F.gelu(y)
        changed: Tensor = x + self.mlp["c_proj"](y)
        return changed


class Transformer(nn.Module):
    """The blocks of the text tower, named as in checkpoints."""

    def __init__(self, width: int, layers: int, quick: bool) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(TextBlock(width, quick) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """(N, L, width) -> (N, L, width)."""
        length = x.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        for block in self.resblocks:
            x = block(x, mask)
        return x


class ResNetClip(nn.Module):
    """Both towers; `quick` selects the approximate GELU of OpenAI's models."""

    def __init__(self, sizes: Sizes, quick: bool) -> None:
        super().__init__()
        width = sizes.text_width
        self.visual = ImageTower(sizes)
        self.token_embedding = nn.Embedding(sizes.vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.zeros(sizes.context, width))
        self.transformer = Transformer(width, sizes.text_layers, quick)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.zeros(width, sizes.dim))
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def text_features(self, ids: Tensor, ends: Tensor) -> Tensor:
        """Token ids (N, L) and the position of each end token (N,) -> (N, D)."""
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        x = self.ln_final(self.transformer(x))
        features: Tensor = x[torch.arange(len(x), device=x.device), ends] @ self.text_projection
        return features
