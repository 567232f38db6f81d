"""Tiny random image-text-to-text checkpoints on disk, in the layout that the hub uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tiny

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TEMPLATE = (
    "{% for m in messages %}{{ m['role'].upper() }}: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}IMAGE{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %} {% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 37,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
}


def byte_tokenizer(specials: Sequence[str]) -> Any:
    """Every byte a token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = {letter: index for index, letter in enumerate(tiny.byte_letters())}
    tokenizer = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=list(specials),
    )


def special_ids(tokenizer: Any) -> dict[str, int]:
    return {
        f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")
    }


def tiny_llava(directory: Path, seed: int = 0, template: bool = True) -> Path:
    """A LlavaForConditionalGeneration with processor and chat template."""
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    tokenizer = byte_tokenizer(["<image>"])
    vision = CLIPVisionConfig(**_TEXT, image_size=32, patch_size=8, projection_dim=16)
    text = LlamaConfig(**_TEXT, vocab_size=len(tokenizer), **special_ids(tokenizer))
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    with tiny.seeded(seed):
        LlavaForConditionalGeneration(config).save_pretrained(directory)
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE.replace("IMAGE", "<image>\n") if template else None,
    )
    processor.save_pretrained(directory)
    return directory


def tiny_qwen(directory: Path, seed: int = 0) -> Path:
    """A Qwen2VLForConditionalGeneration: its processor wants torchvision, for videos."""
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    marks = ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>")
    tokenizer = byte_tokenizer(marks)
    start, image, end, video = tokenizer.convert_tokens_to_ids(list(marks))
    rope = {"rope_type": "default", "type": "mrope", "mrope_section": [1, 1, 2]}
    config = Qwen2VLConfig(
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 32,
            "num_heads": 4,
            "mlp_ratio": 2,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        text_config={
            **_TEXT,
            "vocab_size": len(tokenizer),
            "num_key_value_heads": 2,
            "rope_parameters": rope,
            **special_ids(tokenizer),
        },
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    with tiny.seeded(seed):
        Qwen2VLForConditionalGeneration(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    tiny.write_json(
        directory / "preprocessor_config.json",
        {
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen2VLProcessor",
            "min_pixels": 256,
            "max_pixels": 1024,
            "patch_size": 8,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        },
    )
    template = TEMPLATE.replace("IMAGE", "".join(marks[:3]))
    tiny.write_json(directory / "chat_template.json", {"chat_template": template})
    return directory


def tiny_smolvlm(directory: Path, seed: int = 0) -> Path:
    """A SmolVLMForConditionalGeneration, as SmolVLM2: large images are cut into tiles."""
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

    return _tiles(directory, SmolVLMConfig, SmolVLMForConditionalGeneration, "SmolVLM", seed)


def tiny_idefics3(directory: Path, seed: int = 0) -> Path:
    """An Idefics3ForConditionalGeneration, as the first SmolVLM."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration

    return _tiles(directory, Idefics3Config, Idefics3ForConditionalGeneration, "Idefics3", seed)


def _tiles(directory: Path, config_class: Any, model_class: Any, kind: str, seed: int) -> Path:
    marks = ["<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>"]
    marks += [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
    tokenizer = byte_tokenizer(marks)
    text = {**_TEXT, "num_key_value_heads": 2, "vocab_size": len(tokenizer), "model_type": "llama"}
    config = config_class(
        vision_config={**_TEXT, "image_size": 32, "patch_size": 8},
        text_config={**text, **special_ids(tokenizer)},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    with tiny.seeded(seed):
        model_class(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    tiny.write_json(
        directory / "preprocessor_config.json",
        {
            "image_processor_type": f"{kind}ImageProcessor",
            "processor_class": f"{kind}Processor",
            "do_image_splitting": True,
            "size": {"longest_edge": 64},
            "max_image_size": {"longest_edge": 32},
            "resample": 1,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        },
    )
    tiny.write_json(
        directory / "processor_config.json",
        {"image_seq_len": 4, "processor_class": f"{kind}Processor"},
    )
    template = TEMPLATE.replace("IMAGE", "<image>")
    tiny.write_json(directory / "chat_template.json", {"chat_template": template})
    return directory


def tiny_qwen3(directory: Path, seed: int = 0) -> Path:
    """A Qwen3VLForConditionalGeneration: several layers of its image tower are read."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    marks = ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>")
    tokenizer = byte_tokenizer(marks)
    start, image, end, video = tokenizer.convert_tokens_to_ids(list(marks))
    config = Qwen3VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 37,
            "num_heads": 4,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": _TEXT["hidden_size"],
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        },
        text_config={
            **_TEXT,
            "head_dim": 8,
            "num_key_value_heads": 2,
            "vocab_size": len(tokenizer),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [2, 1, 1],
                "mrope_interleaved": True,
            },
            **special_ids(tokenizer),
        },
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    with tiny.seeded(seed):
        Qwen3VLForConditionalGeneration(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    tiny.write_json(
        directory / "preprocessor_config.json",
        {
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen3VLProcessor",
            "size": {"shortest_edge": 256, "longest_edge": 1024},
            "patch_size": 8,
            "temporal_patch_size": 2,
            "merge_size": 2,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        },
    )
    template = TEMPLATE.replace("IMAGE", "".join(marks[:3]))
    tiny.write_json(directory / "chat_template.json", {"chat_template": template})
    return directory
