"""Builders of tiny random vision models of transformers, in the layout of the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

import tiny

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 32
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
SQUARE = {"height": SIZE, "width": SIZE}
VIT = {
    "hidden_size": 16,
    "intermediate_size": 21,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "image_size": SIZE,
    "patch_size": 8,
}
DINO = {name: VIT[name] for name in VIT if name != "intermediate_size"}
STAGES = {"hidden_sizes": [8, 12], "depths": [1, 1]}
SWIN = {"image_size": SIZE, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2]}

_CUT = {"size": {"shortest_edge": SIZE + 5}, "crop_size": SQUARE, "resample": 3, **IMAGENET}
BIT = ("BitImageProcessor", _CUT)
VIT_STEPS = ("ViTImageProcessor", {"size": SQUARE, "image_mean": [0.5] * 3, "image_std": [0.5] * 3})
CONVNEXT = (
    "ConvNextImageProcessor",
    {"size": {"shortest_edge": SIZE}, "crop_pct": 0.9, **IMAGENET},
)

# model_type -> configuration's fields, what the hub publishes it as, and its image processor
MODELS: dict[str, tuple[dict[str, Any], str, tuple[str, dict[str, Any]]]] = {
    "beit": ({**VIT, "use_mean_pooling": True}, "BeitModel", ("BeitImageProcessor", {
        "size": SQUARE, "do_center_crop": False, **IMAGENET})),
    "bit": ({"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "num_groups": 4},
        "BitModel", BIT),
    "clip_vision_model": (VIT, "CLIPVisionModel", ("CLIPImageProcessor", {
        "size": {"shortest_edge": SIZE}, "crop_size": SQUARE})),
    "convnext": ({**STAGES, "num_stages": 2}, "ConvNextForImageClassification", CONVNEXT),
    "convnextv2": ({**STAGES, "num_stages": 2}, "ConvNextV2Model", CONVNEXT),
    "deit": (VIT, "DeiTForImageClassification", ("DeiTImageProcessor", {
        "size": {"height": 36, "width": 36}, "crop_size": SQUARE, **IMAGENET})),
    "dinov2": (DINO, "Dinov2Model", BIT),
    "dinov2_with_registers": (DINO, "Dinov2WithRegistersModel", BIT),
    "dinov3_convnext": (STAGES, "DINOv3ConvNextModel", ("DINOv3ViTImageProcessor", {
        "size": SQUARE, **IMAGENET})),
    "dinov3_vit": ({**VIT, "num_register_tokens": 2}, "DINOv3ViTModel", (
        "DINOv3ViTImageProcessorFast", {"size": SQUARE})),
    "efficientnet": ({"image_size": SIZE, "width_coefficient": 0.5, "depth_coefficient": 0.3,
        "hidden_dim": 640}, "EfficientNetForImageClassification", ("EfficientNetImageProcessor", {
        "size": SQUARE, "include_top": True, **IMAGENET})),
    "hiera": ({"image_size": [SIZE, SIZE], "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2],
        "masked_unit_size": [4, 4], "query_stride": [2, 2], "num_query_pool": 1}, "HieraModel",
        ("BitImageProcessor", {"size": {"shortest_edge": SIZE}, "crop_size": SQUARE, **IMAGENET})),
    "ijepa": (VIT, "IJepaModel", VIT_STEPS),
    "regnet": ({"embedding_size": 8, **STAGES, "groups_width": 4}, "RegNetModel", CONVNEXT),
    "resnet": ({"embedding_size": 8, **STAGES, "layer_type": "basic"},
        "ResNetForImageClassification", CONVNEXT),
    "siglip_vision_model": (VIT, "SiglipVisionModel", ("SiglipImageProcessor", {"size": SQUARE})),
    "swin": ({**SWIN, "window_size": 4}, "SwinModel", VIT_STEPS),
    "swinv2": (SWIN, "Swinv2Model", VIT_STEPS),
    "tipsv2_vision_model": (DINO, "Tipsv2VisionModel", ("Tipsv2ImageProcessor", {"size": SQUARE})),
    "vit": (VIT, "ViTForImageClassification", VIT_STEPS),
    "vit_msn": (VIT, "ViTMSNModel", VIT_STEPS),
}  # fmt: skip
KINDS = tuple(MODELS)


def tiny_vision(directory: Path, kind: str, seed: int = 0) -> Path:
    """A checkpoint of the `model_type` `kind`."""
    import transformers

    fields, name, (processor, settings) = MODELS[kind]
    config = transformers.AutoConfig.for_model(kind, **fields, initializer_range=0.2)
    with tiny.seeded(seed):
        model = getattr(transformers, name)(config)
        norms = [part for part in model.modules() if isinstance(part, torch.nn.BatchNorm2d)]
        for part in norms:  # so that what is random is neither lost nor without bound
            part.momentum = 1.0
        if norms:
            with torch.no_grad():
                model.train()(pixel_values=torch.randn(8, 3, SIZE, SIZE))
    model.save_pretrained(directory)
    steps = {"image_processor_type": processor, **settings}
    tiny.write_json(directory / "preprocessor_config.json", steps)
    return directory
