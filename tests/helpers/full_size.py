"""Builders of full-size checkpoints with random weights, in the architectures of the public ones.

The sizes stand here as the public configurations state them. Parameters are one random block
repeated and scaled, so that gigabytes are made in seconds; each file is written by the library's
own `save_pretrained`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

import tiny
import tiny_chat
from synood.files import read_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

WORDS = 49408  # tokens of CLIP's vocabulary
BLOCK = 2**22  # random numbers that are drawn; the rest repeats them
STABLE_DIFFUSION_2 = {  # its U-Net, for in-painting
    "sample_size": 64,
    "in_channels": 9,
    "cross_attention_dim": 1024,
    "attention_head_dim": [5, 10, 20, 20],
    "use_linear_projection": True,
}


def filled(
    build: Callable[[], torch.nn.Module],
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> Any:
    """Build a model without drawing weights, and fill it: norms with ones, the rest at random.

    It is made on `device` and in `dtype` from the beginning.
    """
    with torch.device("meta"):
        model = build().to(dtype)
    model = model.to_empty(device=device).eval()
    block = torch.randn(BLOCK, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            fill(name, weight, block)
        for name, buffer in model.named_buffers():
            buffer.fill_(1 if name.endswith("running_var") else 0)
    return model


def fill(name: str, weight: torch.Tensor, block: torch.Tensor) -> None:
    """Fill one parameter in place."""
    if weight.ndim < 2:
        weight.fill_(0 if name.endswith("bias") else 1)
        return
    flat, scale = weight.view(-1), weight[0].numel() ** -0.5
    for start in range(0, len(flat), len(block)):
        piece = flat[start : start + len(block)]
        torch.mul(block[: len(piece)], scale, out=piece)


@contextmanager
def one_copy() -> Iterator[None]:
    """Keep transformers from drawing weights of its own while a model is built."""
    from transformers import initialization

    with initialization.no_init_weights():
        yield


def tokenizer_of_clip(directory: Path, pad: str) -> Path:
    """A CLIPTokenizer whose special tokens have the ids of the public vocabulary's."""
    tiny.tiny_tokenizer(directory)
    vocabulary = read_json(directory / "vocab.json")
    for number in range(len(vocabulary) - 2, WORDS - 2):
        vocabulary[f"word{number}</w>"] = number
    vocabulary |= {tiny.START: WORDS - 2, tiny.END: WORDS - 1}
    tiny.write_json(directory / "vocab.json", vocabulary)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        told = read_json(directory / name)
        tiny.write_json(directory / name, {**told, "pad_token": pad})
    return directory


def stable_diffusion_2_text() -> Any:
    """The text tower of Stable Diffusion 2: OpenCLIP-H's but for its last layer."""
    from transformers import CLIPTextConfig, CLIPTextModel

    text = {
        "vocab_size": WORDS,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 23,
        "num_attention_heads": 16,
        "hidden_act": "gelu",
        "projection_dim": 512,
        "bos_token_id": WORDS - 2,
        "eos_token_id": WORDS - 1,
    }
    return CLIPTextModel(CLIPTextConfig(**text))


def stable_diffusion_2_unet() -> Any:
    """The U-Net of Stable Diffusion 2 for in-painting."""
    import diffusers

    return diffusers.UNet2DConditionModel(**STABLE_DIFFUSION_2)


def stable_diffusion_2(directory: Path, dtype: torch.dtype = torch.float32) -> Path:
    """Stable Diffusion 2 in-painting: U-Net of 866 million weights, OpenCLIP-H tower, VAE, PNDM."""
    tokenizer_of_clip(directory / "tokenizer", pad="!")
    with one_copy():
        filled(stable_diffusion_2_text, dtype).save_pretrained(directory / "text_encoder")
    filled(stable_diffusion_2_unet, dtype).save_pretrained(directory / "unet")
    filled(stable_diffusion_vae, dtype).save_pretrained(directory / "vae")
    tiny.tiny_scheduler(directory / "scheduler", "PNDMScheduler", "epsilon", {})
    parts = {
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    pipeline = {"_class_name": "StableDiffusionInpaintPipeline", "safety_checker": [None, None]}
    tiny.write_json(directory / "model_index.json", {**pipeline, **parts})
    return directory


def stable_diffusion_vae(channels: int = 4, **scaling: float) -> Any:
    """The autoencoder of Stable Diffusion 1 and 2; but for its scaling of SDXL too.

    With 16 latent channels it has the shape of Z-Image's, which is that of FLUX.1.
    """
    import diffusers

    return diffusers.AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=channels,
        sample_size=768,
        **{"scaling_factor": 0.18215, **scaling},
    )


def write_preprocessor(directory: Path, kind: str, **options: object) -> None:
    """Write the steps that both take, at 224 pixels, and those that are this kind's own."""
    common = {
        "image_processor_type": kind,
        "do_resize": True,
        "size": {"shortest_edge": 224},
        "resample": 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.48, 0.46, 0.41],
        "image_std": [0.27, 0.26, 0.28],
    }
    crop = {"do_center_crop": True} if "crop_size" in options else {}
    tiny.write_json(directory / "preprocessor_config.json", {**common, **crop, **options})


def qwen3_4b() -> Any:
    """Qwen3-4B without its head, which embeds the prompts of Z-Image."""
    from transformers import Qwen3Config, Qwen3Model

    return Qwen3Model(
        Qwen3Config(
            vocab_size=151936,
            hidden_size=2560,
            intermediate_size=9728,
            num_hidden_layers=36,
            num_attention_heads=32,
            num_key_value_heads=8,
            head_dim=128,
            max_position_embeddings=40960,
        )
    )


def z_image_transformer() -> Any:
    """The transformer of Z-Image-Turbo, 6.2 billion weights, as diffusers makes it by default."""
    import diffusers

    return diffusers.ZImageTransformer2DModel()


def clip_model() -> Any:
    """CLIP ViT-B/16 without weights of its own."""
    from transformers import CLIPConfig, CLIPModel

    text = {
        "vocab_size": WORDS,
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
        "bos_token_id": WORDS - 2,
        "eos_token_id": WORDS - 1,
    }
    config = CLIPConfig(text_config=text, vision_config={"patch_size": 16}, projection_dim=512)
    return CLIPModel(config)


def clip_surroundings(directory: Path) -> Path:
    """Write the tokenizer and the preprocessing of CLIP ViT-B/16."""
    tokenizer_of_clip(directory, pad=tiny.END)
    write_preprocessor(directory, "CLIPImageProcessor", crop_size={"height": 224, "width": 224})
    return directory


def clip_vit_b16(directory: Path) -> Path:
    """CLIP ViT-B/16: 150 million weights."""
    clip_surroundings(directory)
    with one_copy():
        model = filled(clip_model)
    model.logit_scale.data.fill_(4.6052)
    model.save_pretrained(directory)
    return directory


def resnet_50(directory: Path, classes: Sequence[str]) -> Path:
    """ResNet-50 for the classes given."""
    from transformers import ResNetConfig, ResNetForImageClassification

    labels = dict(enumerate(classes))
    config = ResNetConfig(id2label=labels, label2id={name: n for n, name in labels.items()})
    with one_copy():
        filled(lambda: ResNetForImageClassification(config)).save_pretrained(directory)
    write_preprocessor(directory, "ConvNextImageProcessor", crop_pct=0.875)
    return directory


def llava(directory: Path, layers: int) -> Path:
    """LLaVA-1.5-7B with its own vision tower, projector and widths, and so many of 32 layers."""
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    tokenizer = tiny_chat.byte_tokenizer(["<image>"])
    vision = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
        projection_dim=768,
    )
    text = LlamaConfig(
        vocab_size=32064,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=layers,
        num_attention_heads=32,
        **tiny_chat.special_ids(tokenizer),
    )
    image = tokenizer.convert_tokens_to_ids("<image>")
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=image)
    with one_copy():
        model = filled(lambda: LlavaForConditionalGeneration(config), torch.bfloat16)
    model.save_pretrained(directory)
    LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}
        ),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tiny_chat.TEMPLATE.replace("IMAGE", "<image>\n"),
    ).save_pretrained(directory)
    return directory
