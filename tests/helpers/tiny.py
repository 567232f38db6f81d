"""Builders of tiny random checkpoints on disk, in the layout that the hub uses.

Each takes a directory, fills it and returns it; the weights depend on `seed` alone. They load
through the libraries' own `from_pretrained`, so a test runs the real path with small numbers.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

START, END = "<|startoftext|>", "<|endoftext|>"
MERGED_WORDS = ("photo", "of", "cat", "dog", "tree", "nice", "the", "only", "remain", "this", "is")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw the weights from `seed` and leave torch's global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def byte_letters() -> list[str]:
    """The 256 printable stand-ins for bytes of byte-level BPE, in byte order."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = iter(range(256, 512))
    return [chr(byte if byte in shown else next(hidden)) for byte in range(256)]


def merge_rules(words: Sequence[str]) -> list[tuple[str, str]]:
    """The rules that join each word's letters from left to right."""
    rules: dict[tuple[str, str], None] = {}
    for word in words:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            rules[pieces[0], pieces[1]] = None
            pieces = [pieces[0] + pieces[1], *pieces[2:]]
    return list(rules)


def tiny_tokenizer(directory: Path, context: int = 77) -> Path:
    """vocab.json and merges.txt of a CLIPTokenizer: every byte and a few whole words."""
    directory.mkdir(parents=True, exist_ok=True)
    letters = byte_letters()
    rules = merge_rules(MERGED_WORDS)
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *(a + b for a, b in rules)]
    vocabulary = {token: index for index, token in enumerate([*dict.fromkeys(tokens), START, END])}
    write_json(directory / "vocab.json", vocabulary)
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in rules)]
    (directory / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    specials = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    write_json(directory / "special_tokens_map.json", specials)
    write_json(
        directory / "tokenizer_config.json",
        {**specials, "model_max_length": context, "tokenizer_class": "CLIPTokenizer"},
    )
    return directory


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def text_config(tokenizer: Path) -> dict[str, Any]:
    vocabulary = json.loads((tokenizer / "vocab.json").read_text(encoding="utf-8"))
    context = json.loads((tokenizer / "tokenizer_config.json").read_text(encoding="utf-8"))
    return {
        "vocab_size": len(vocabulary),
        "hidden_size": 32,
        "intermediate_size": 37,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "projection_dim": 16,
        "max_position_embeddings": context["model_max_length"],
        "bos_token_id": vocabulary[START],
        "eos_token_id": vocabulary[END],
        "pad_token_id": vocabulary[END],
    }


def tiny_clip(directory: Path, size: int = 32, context: int = 77, seed: int = 0) -> Path:
    """A CLIPModel of 16-dimensional features with tokenizer and preprocessor."""
    from transformers import CLIPConfig, CLIPModel

    tiny_tokenizer(directory, context)
    vision = {
        "hidden_size": 32,
        "intermediate_size": 37,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "projection_dim": 16,
        "image_size": size,
        "patch_size": 8,
    }
    config = CLIPConfig(text_config=text_config(directory), vision_config=vision, projection_dim=16)
    with seeded(seed):
        CLIPModel(config).save_pretrained(directory)
    write_json(
        directory / "preprocessor_config.json",
        {
            "image_processor_type": "CLIPImageProcessor",
            "do_resize": True,
            "size": {"shortest_edge": size},
            "resample": 3,
            "do_center_crop": True,
            "crop_size": {"height": size, "width": size},
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "do_convert_rgb": True,
        },
    )
    return directory


def tiny_inpainting(
    directory: Path,
    scheduler: str = "DDIMScheduler",
    *,
    size: int = 32,
    latent_channels: int = 4,
    prediction_type: str = "epsilon",
    unet_channels: tuple[int, int] = (16, 32),
    vae_config: dict[str, Any] | None = None,
    scheduler_config: dict[str, Any] | None = None,
    text_to_image: bool = False,
    sdxl: bool = False,
    guidance_embedding: int | None = None,
    seed: int = 0,
) -> Path:
    """Components of a StableDiffusionInpaintPipeline; latents have half the image's size.

    With `sdxl` those of a StableDiffusionXLInpaintPipeline: a second, wider tower. With
    `guidance_embedding` those of a latent consistency model, whose U-Net is told the scale.
    """
    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModel

    text = text_config(tiny_tokenizer(directory / "tokenizer"))
    extra: dict[str, Any] = tiny_second_tower(directory, text, seed) if sdxl else {}
    with seeded(seed):
        tower = CLIPTextModel(CLIPTextConfig(**text))
        unet = diffusers.UNet2DConditionModel(
            sample_size=size // 2,
            in_channels=latent_channels if text_to_image else 2 * latent_channels + 1,
            out_channels=latent_channels,
            block_out_channels=unet_channels,
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=8,
            norm_num_groups=8,
            time_cond_proj_dim=guidance_embedding,
            **{"cross_attention_dim": text["hidden_size"], **extra},
        )
        vae = diffusers.AutoencoderKL(
            block_out_channels=(8, 16),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=latent_channels,
            norm_num_groups=4,
            sample_size=size,
            **(vae_config or {}),
        )
    tower.save_pretrained(directory / "text_encoder")
    unet.save_pretrained(directory / "unet")
    vae.save_pretrained(directory / "vae")
    tiny_scheduler(directory / "scheduler", scheduler, prediction_type, scheduler_config or {})
    parts = {
        "scheduler": ["diffusers", scheduler],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    pipeline = {
        "_class_name": "StableDiffusionInpaintPipeline",
        "requires_safety_checker": False,
        "safety_checker": [None, None],
    }
    if sdxl:
        parts["text_encoder_2"] = ["transformers", "CLIPTextModelWithProjection"]
        parts["tokenizer_2"] = ["transformers", "CLIPTokenizer"]
        pipeline = {"_class_name": "StableDiffusionXLInpaintPipeline"}
    common = {"_diffusers_version": diffusers.__version__, "feature_extractor": [None, None]}
    write_json(directory / "model_index.json", {**pipeline, **common, **parts})
    return directory


def tiny_second_tower(directory: Path, text: dict[str, Any], seed: int) -> dict[str, Any]:
    """Write SDXL's second tower, which pads with "!"; return what its U-Net is told of it."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    tokenizer = tiny_tokenizer(directory / "tokenizer_2")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        told = json.loads((tokenizer / name).read_text(encoding="utf-8"))
        write_json(tokenizer / name, {**told, "pad_token": "!"})
    config = {**text, "hidden_size": 48, "num_hidden_layers": 3, "projection_dim": 24}
    with seeded(seed + 1):
        tower = CLIPTextModelWithProjection(CLIPTextConfig(**config))
    tower.save_pretrained(directory / "text_encoder_2")
    return {
        "cross_attention_dim": text["hidden_size"] + config["hidden_size"],
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + config["projection_dim"],
    }


def tiny_scheduler(
    directory: Path, name: str, prediction_type: str, overrides: dict[str, Any]
) -> None:
    """Stable Diffusion's noise schedule under any of diffusers' schedulers."""
    import diffusers

    settings: dict[str, Any] = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": prediction_type,
        "steps_offset": 1,
    }
    if name == "DDIMScheduler":
        settings |= {"clip_sample": False, "set_alpha_to_one": False}
    if name == "PNDMScheduler":
        settings |= {"skip_prk_steps": True, "set_alpha_to_one": False}
    getattr(diffusers, name)(**{**settings, **overrides}).save_pretrained(directory)


def tiny_resnet(directory: Path, classes: Sequence[str], size: int = 32, seed: int = 0) -> Path:
    """A ResNetForImageClassification whose labels are `classes`, with its preprocessor."""
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[1, 1],
        layer_type="basic",
        id2label=dict(enumerate(classes)),
        label2id={name: index for index, name in enumerate(classes)},
    )
    with seeded(seed):
        ResNetForImageClassification(config).save_pretrained(directory)
    write_json(
        directory / "preprocessor_config.json",
        {
            "image_processor_type": "ConvNextImageProcessor",
            "crop_pct": 0.875,
            "do_resize": True,
            "size": {"shortest_edge": size},
            "resample": 3,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225],
        },
    )
    return directory
