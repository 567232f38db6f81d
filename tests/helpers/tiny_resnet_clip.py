"""A tiny random CLIP with a ResNet, made by OpenAI's names of tensors, without our module."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

import tiny

if TYPE_CHECKING:
    from pathlib import Path

BLOCKS, WIDTH, DIM, TEXT_WIDTH, CONTEXT = (2, 1, 1, 1), 8, 24, 64, 20
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def tiny_resnet_clip(directory: Path, quick: bool = True, seed: int = 0) -> Path:
    """Laid out as OpenCLIP lays such a model out on the hub; pictures of 64 pixels a side."""
    tiny.tiny_tokenizer(directory)
    vocabulary = len(json.loads((directory / "vocab.json").read_text(encoding="utf-8")))
    tensors = Draw(seed).towers(vocabulary)
    save_file(tensors, directory / "open_clip_model.safetensors")
    vision = {"image_size": 64, "layers": list(BLOCKS), "width": WIDTH, "patch_size": None}
    text = {"context_length": CONTEXT, "vocab_size": vocabulary, "width": TEXT_WIDTH, "heads": 1}
    model = {"quick_gelu": quick, "embed_dim": DIM, "vision_cfg": vision, "text_cfg": text}
    steps = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    tiny.write_json(
        directory / "open_clip_config.json", {"model_cfg": model, "preprocess_cfg": steps}
    )
    return directory


class Draw:
    """Random weights of a size that keeps every layer's output near one."""

    def __init__(self, seed: int) -> None:
        self._source = torch.Generator().manual_seed(seed)
        self.tensors: dict[str, torch.Tensor] = {}

    def towers(self, vocabulary: int) -> dict[str, torch.Tensor]:
        self.image_tower()
        self.text_tower(vocabulary)
        self.tensors["logit_scale"] = torch.tensor(4.6052)
        return self.tensors

    def weight(self, name: str, *shape: int) -> None:
        drawn = torch.randn(shape, generator=self._source)
        self.tensors[name] = drawn / math.prod(shape[1:]) ** 0.5

    def bias(self, name: str, width: int) -> None:
        self.tensors[name] = 0.2 * torch.randn(width, generator=self._source)

    def norm(self, name: str, width: int, batch: bool = True) -> None:
        self.tensors[f"{name}.weight"] = 0.9 + 0.2 * torch.rand(width, generator=self._source)
        self.bias(f"{name}.bias", width)
        if batch:
            self.bias(f"{name}.running_mean", width)
            self.tensors[f"{name}.running_var"] = 0.5 + torch.rand(width, generator=self._source)

    def linear(self, name: str, outputs: int, inputs: int) -> None:
        self.weight(f"{name}.weight", outputs, inputs)
        self.bias(f"{name}.bias", outputs)

    def image_tower(self) -> None:
        channels = (3, WIDTH // 2, WIDTH // 2, WIDTH)
        for number in (1, 2, 3):
            self.weight(f"visual.conv{number}.weight", channels[number], channels[number - 1], 3, 3)
            self.norm(f"visual.bn{number}", channels[number])
        inputs = WIDTH
        for stage, blocks in enumerate(BLOCKS):
            for row in range(blocks):
                self.block(f"visual.layer{stage + 1}.{row}", inputs, WIDTH * 2**stage, row == 0)
                inputs = 4 * WIDTH * 2**stage
        self.weight("visual.attnpool.positional_embedding", 5, inputs)
        for letter, outputs in (("q", inputs), ("k", inputs), ("v", inputs), ("c", DIM)):
            self.linear(f"visual.attnpool.{letter}_proj", outputs, inputs)

    def block(self, place: str, inputs: int, inside: int, first: bool) -> None:
        self.weight(f"{place}.conv1.weight", inside, inputs, 1, 1)
        self.weight(f"{place}.conv2.weight", inside, inside, 3, 3)
        self.weight(f"{place}.conv3.weight", 4 * inside, inside, 1, 1)
        for number, width in ((1, inside), (2, inside), (3, 4 * inside)):
            self.norm(f"{place}.bn{number}", width)
        if first:
            self.weight(f"{place}.downsample.0.weight", 4 * inside, inputs, 1, 1)
            self.norm(f"{place}.downsample.1", 4 * inside)

    def text_tower(self, vocabulary: int) -> None:
        width = TEXT_WIDTH
        self.weight("token_embedding.weight", vocabulary, width)
        self.weight("positional_embedding", CONTEXT, width)
        for row in range(2):
            place = f"transformer.resblocks.{row}"
            self.weight(f"{place}.attn.in_proj_weight", 3 * width, width)
            self.bias(f"{place}.attn.in_proj_bias", 3 * width)
            self.linear(f"{place}.attn.out_proj", width, width)
            self.linear(f"{place}.mlp.c_fc", 4 * width, width)
            self.linear(f"{place}.mlp.c_proj", width, 4 * width)
            self.norm(f"{place}.ln_1", width, batch=False)
            self.norm(f"{place}.ln_2", width, batch=False)
        self.norm("ln_final", width, batch=False)
        self.weight("text_projection", width, DIM)
