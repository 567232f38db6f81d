"""A tiny random Z-Image on disk: a flow-matching transformer with a Qwen3 for its prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tiny

if TYPE_CHECKING:
    from pathlib import Path

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def chat_tokenizer(directory: Path) -> int:
    """Write a Qwen2Tokenizer whose tokens are bytes; return the size of its vocabulary."""
    from transformers import Qwen2Tokenizer

    vocabulary = {letter: index for index, letter in enumerate(tiny.byte_letters())}
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=[],
        unk_token=SPECIALS[0],
        pad_token=SPECIALS[0],
        eos_token=SPECIALS[2],
        additional_special_tokens=list(SPECIALS[1:]),
        chat_template=TEMPLATE,
    )
    tokenizer.save_pretrained(directory)
    return max(tokenizer.get_vocab().values()) + 1


def flow_scheduler(directory: Path, **changes: Any) -> None:
    """Write the schedule of Z-Image-Turbo, with changes."""
    import diffusers

    schedule = diffusers.FlowMatchEulerDiscreteScheduler(**{"shift": 3.0, **changes})
    schedule.save_pretrained(directory)


def tiny_zimage(
    directory: Path, *, scheduler: dict[str, Any] | None = None, seed: int = 0, **changes: Any
) -> Path:
    """Components of a ZImageInpaintPipeline; latents have half the image's size.

    `scheduler` changes the schedule's settings, `changes` those of the transformer.
    """
    import diffusers
    from transformers import Qwen3Config, Qwen3Model

    words = chat_tokenizer(directory / "tokenizer")
    text = Qwen3Config(
        vocab_size=words,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=512,
    )
    with tiny.seeded(seed):
        tower = Qwen3Model(text)
        options = {
            "in_channels": 4,
            "dim": 32,
            "n_layers": 2,
            "n_refiner_layers": 1,
            "n_heads": 2,
            "n_kv_heads": 2,
            "cap_feat_dim": 16,
            "axes_dims": [8, 4, 4],
            "axes_lens": [1024, 64, 64],
        }
        transformer = diffusers.ZImageTransformer2DModel(**{**options, **changes})
        vae = diffusers.AutoencoderKL(
            block_out_channels=(8, 16),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            norm_num_groups=4,
            sample_size=32,
            scaling_factor=0.3611,
            shift_factor=0.1159,
        )
    tower.save_pretrained(directory / "text_encoder")
    transformer.save_pretrained(directory / "transformer")
    vae.save_pretrained(directory / "vae")
    flow_scheduler(directory / "scheduler", **(scheduler or {}))
    parts = {
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "Qwen3Model"],
        "tokenizer": ["transformers", "Qwen2Tokenizer"],
        "transformer": ["diffusers", "ZImageTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    index = {"_class_name": "ZImagePipeline", "_diffusers_version": diffusers.__version__}
    tiny.write_json(directory / "model_index.json", {**index, **parts})
    return directory
