"""Builders of tiny random image classifiers of several families, with their own preprocessing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

import tiny

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
SPREAD = 20.0  # of the last layer's weights: logits as far apart as those of a trained network
PROCESSORS: dict[str, dict[str, Any]] = {
    "resnet": {
        "image_processor_type": "ConvNextImageProcessor",
        "size": {"shortest_edge": 224},
        "crop_pct": 0.875,
        "resample": 3,
        **IMAGENET,
    },
    "vit": {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 224, "width": 224},
        "resample": 2,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    },
    "convnext": {
        "image_processor_type": "ConvNextImageProcessor",
        "size": {"shortest_edge": 384},
        "crop_pct": None,
        "resample": 3,
        **IMAGENET,
    },
}


def tiny_classifier(directory: Path, family: str, classes: Sequence[str], seed: int = 0) -> Path:
    """A checkpoint of one of `PROCESSORS`, at the size of pictures that its real like takes."""
    from transformers import AutoModelForImageClassification

    with tiny.seeded(seed):
        model = AutoModelForImageClassification.from_config(_config(family, classes))
        head = [part for part in model.modules() if isinstance(part, torch.nn.Linear)][-1]
        head.weight.data.normal_(0, SPREAD * head.in_features**-0.5)
        model.save_pretrained(directory)
    settings = {"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255}
    settings |= {"do_normalize": True, **PROCESSORS[family]}
    tiny.write_json(directory / "preprocessor_config.json", settings)
    return directory


def _config(family: str, classes: Sequence[str]) -> Any:
    from transformers import ConvNextConfig, ResNetConfig, ViTConfig

    labels = {
        "id2label": dict(enumerate(classes)),
        "label2id": {n: i for i, n in enumerate(classes)},
    }
    if family == "vit":
        tower = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
        return ViTConfig(image_size=224, patch_size=16, intermediate_size=64, **tower, **labels)
    if family == "convnext":
        return ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 2, 1], **labels)
    return ResNetConfig(embedding_size=8, hidden_sizes=[16, 32], depths=[1, 1], **labels)
