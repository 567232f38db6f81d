"""Builders of tiny random image-text encoders beside transformers' CLIP, as `tiny` has them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import tiny

if TYPE_CHECKING:
    from pathlib import Path

WORDS = ("a photo of", "cat", "dog", "tree", "nice", "the only", "river", "lamp", "zebra crossing")
SIZE = 32
TOWER = {"hidden_size": 16, "intermediate_size": 21, "num_attention_heads": 4}


def tiny_siglip(directory: Path, generation: int = 1, context: int = 16, seed: int = 0) -> Path:
    """A SiglipModel of 16-dimensional features; each generation has its own vocabulary."""
    from transformers import SiglipConfig, SiglipModel

    directory.mkdir(parents=True, exist_ok=True)
    vocabulary = (sentencepiece_vocabulary if generation == 1 else gemma_vocabulary)(directory)
    tower = {**TOWER, "num_hidden_layers": 2}
    text = {
        **tower,
        "vocab_size": vocabulary,
        "max_position_embeddings": context,
        "projection_size": TOWER["hidden_size"],
    }
    vision = {**tower, "image_size": SIZE, "patch_size": 8}
    with tiny.seeded(seed):
        model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
        model.logit_scale.data.fill_(4.7)
        model.logit_bias.data.fill_(-12.9)
        model.save_pretrained(directory)
    tiny.write_json(
        directory / "preprocessor_config.json",
        {
            "image_processor_type": "SiglipImageProcessor",
            "do_resize": True,
            "size": {"height": SIZE, "width": SIZE},
            "resample": 3,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        },
    )
    return directory


def sentencepiece_vocabulary(directory: Path) -> int:
    """spiece.model of SigLIP: end of text 1, unknown 2, no start."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(WORDS * 20),
        model_writer=model,
        vocab_size=50,
        hard_vocab_limit=False,
        **{"bos_id": -1, "pad_id": 0, "eos_id": 1, "unk_id": 2},
        minloglevel=2,
    )
    (directory / "spiece.model").write_bytes(model.getvalue())
    settings = {"tokenizer_class": "SiglipTokenizer", "model_max_length": 64}
    tiny.write_json(directory / "tokenizer_config.json", {**settings, "pad_token": "</s>"})
    return len(sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()))


def gemma_vocabulary(directory: Path) -> int:
    """tokenizer.json of SigLIP 2: Gemma's layout, bytes and small letters and a few words."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    raw = [f"<0x{byte:02X}>" for byte in range(256)]
    letters = ["▁", *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,"]
    merges = [("c", "a"), ("ca", "t"), ("t", "r"), ("e", "e"), ("tr", "ee")]
    tokens = [*special, *raw, *letters, *(a + b for a, b in merges)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, fuse_unk=True, unk_token="<unk>", byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", 1)]
    )
    tokenizer.save(str(directory / "tokenizer.json"))
    tiny.write_json(
        directory / "tokenizer_config.json",
        {
            "tokenizer_class": "GemmaTokenizer",
            "add_bos_token": False,
            "add_eos_token": True,
            "model_max_length": 64,
            "padding_side": "right",
            **{f"{name}_token": f"<{name}>" for name in ("pad", "eos", "bos", "unk", "mask")},
        },
    )
    return len(vocabulary)
