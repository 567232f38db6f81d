"""Builders of tiny random checkpoints of the image-text models that one adapter takes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import tiny
from tiny_encoders import gemma_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZE, PATCH = 32, 8
WIDE = {"hidden_size": 16, "intermediate_size": 21, "num_attention_heads": 4}
TOWER = {**WIDE, "num_hidden_layers": 2}
VISION = {**TOWER, "image_size": SIZE, "patch_size": PATCH, "projection_dim": 12}
CLIP_COLOURS = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
CUT = {
    "size": {"shortest_edge": SIZE},
    "crop_size": {"height": SIZE, "width": SIZE},
    "do_center_crop": True,
    "resample": 3,
    **CLIP_COLOURS,
}
WORDS = ("photo", "of", "cat", "dog", "tree", "nice", "the", "only", "river", "zebra", "crossing")


def tiny_family(directory: Path, kind: str, seed: int = 0) -> Path:
    """A checkpoint of the `model_type` `kind` in the layout of the hub."""
    directory.mkdir(parents=True, exist_ok=True)
    with tiny.seeded(seed):
        model = _MAKERS[kind](directory)
        learned = {"logit_scale": 3.7, "logit_bias": -9.5, "temperature": 0.03}
        for name, weight in model.named_parameters():
            if (end := name.rpartition(".")[2]) in learned:
                weight.data.fill_(learned[end])
    model.save_pretrained(directory)
    return directory


def _processor(directory: Path, kind: str, **settings: Any) -> None:
    tiny.write_json(
        directory / "preprocessor_config.json", {"image_processor_type": kind, **settings}
    )


def wordpieces(directory: Path) -> dict[str, Any]:
    """vocab.txt of a BertTokenizer: letters and a few words, all small, and some Chinese."""
    letters = "abcdefghijklmnopqrstuvwxyz."
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    tokens += [f"##{letter}" for letter in letters] + [*WORDS, *"一只猫的照片树"]
    (directory / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512}
    tiny.write_json(directory / "tokenizer_config.json", settings)
    return {"vocab_size": len(tokens), "pad_token_id": 0}


def roberta_pieces(directory: Path) -> dict[str, Any]:
    """tokenizer.json of an XLMRobertaTokenizer: <s> 0, <pad> 1, </s> 2."""
    from transformers import XLMRobertaTokenizer

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.[]"
    pieces = [*(f"▁{word}" for word in WORDS), "▁", *letters]
    vocabulary = [(token, 0.0) for token in special]
    vocabulary += [(piece, -2.0 - (len(piece) < 2)) for piece in pieces] + [("<mask>", 0.0)]
    tokenizer = XLMRobertaTokenizer(vocab=vocabulary, model_max_length=512)
    tokenizer.save_pretrained(directory)
    ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    return {"vocab_size": len(vocabulary), **ids}


def sentence_pieces(directory: Path) -> dict[str, Any]:
    """tokenizer.model of a Tipsv2Tokenizer: padding 0, bytes for what is not known."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(WORDS * 20),
        model_writer=model,
        model_type="bpe",
        vocab_size=330,
        hard_vocab_limit=False,
        byte_fallback=True,
        **{"bos_id": -1, "pad_id": 0, "eos_id": -1, "unk_id": 1},
        minloglevel=2,
    )
    (directory / "tokenizer.model").write_bytes(model.getvalue())
    settings = {"tokenizer_class": "Tipsv2Tokenizer", "model_max_length": 64}
    tiny.write_json(directory / "tokenizer_config.json", settings)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return {"vocab_size": len(pieces), "pad_token_id": 0}


def _align(directory: Path) -> Any:
    from transformers import AlignConfig, AlignModel

    text = {**TOWER, **wordpieces(directory), "max_position_embeddings": 80}
    vision = {
        "image_size": SIZE,
        "hidden_dim": 12,
        "width_coefficient": 0.3,
        "depth_coefficient": 0.2,
        "in_channels": [32, 16],
        "out_channels": [16, 40],
        "kernel_sizes": [3, 3],
        "strides": [1, 2],
        "num_block_repeats": [1, 1],
        "expand_ratios": [1, 2],
        "initializer_range": 0.5,
    }
    square = {"height": SIZE, "width": SIZE}
    _processor(
        directory,
        "EfficientNetImageProcessor",
        size={"height": SIZE + 7, "width": SIZE + 7},
        crop_size=square,
        do_center_crop=True,
        do_normalize=False,
        include_top=False,
        rescale_factor=1 / 127.5,
        rescale_offset=True,
        resample=2,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    model = AlignModel(AlignConfig(text_config=text, vision_config=vision, projection_dim=16))
    for module in model.modules():  # batch norms that do something
        if hasattr(module, "running_var"):
            module.running_var.uniform_(0.5, 1.5)
            module.running_mean.normal_(0, 0.1)
    return model


def _altclip(directory: Path) -> Any:
    from transformers import AltCLIPConfig, AltCLIPModel

    text = {**TOWER, **roberta_pieces(directory), "project_dim": 12, "max_position_embeddings": 82}
    _processor(directory, "CLIPImageProcessor", **CUT)
    return AltCLIPModel(AltCLIPConfig(text_config=text, vision_config=VISION, projection_dim=12))


def _blip(directory: Path) -> Any:
    from transformers import BlipConfig, BlipModel

    text = {**TOWER, **wordpieces(directory), "max_position_embeddings": 64}
    text["encoder_hidden_size"] = TOWER["hidden_size"]
    text |= {"bos_token_id": 2, "sep_token_id": 3}
    square = {"height": SIZE, "width": SIZE}
    _processor(directory, "BlipImageProcessor", size=square, resample=3, **CLIP_COLOURS)
    vision = {**VISION, "initializer_range": 0.02}
    return BlipModel(BlipConfig(text_config=text, vision_config=vision, projection_dim=12))


def _chinese_clip(directory: Path) -> Any:
    from transformers import ChineseCLIPConfig, ChineseCLIPModel

    text = {**TOWER, **wordpieces(directory), "max_position_embeddings": 80}
    square = {"height": SIZE, "width": SIZE}
    colours = {"do_center_crop": False, "resample": 3, **CLIP_COLOURS}
    _processor(directory, "ChineseCLIPImageProcessor", size=square, **colours)
    config = ChineseCLIPConfig(text_config=text, vision_config=VISION, projection_dim=12)
    return ChineseCLIPModel(config)


def _clipseg(directory: Path) -> Any:
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

    text = tiny.text_config(tiny.tiny_tokenizer(directory, 77))
    text = {**TOWER, **{key: text[key] for key in ("vocab_size", "bos_token_id", "pad_token_id")}}
    larger = {"height": SIZE + 16, "width": SIZE + 16}  # than its tower: positions are interpolated
    colours = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    _processor(directory, "ViTImageProcessor", size=larger, resample=2, **colours)
    config = CLIPSegConfig(
        text_config={**text, "max_position_embeddings": 77, "eos_token_id": 2},
        vision_config=VISION,
        projection_dim=12,
        extract_layers=[0],
        reduce_dim=8,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=9,
    )
    return CLIPSegForImageSegmentation(config)  # as it is published


def _metaclip_2(directory: Path) -> Any:
    from transformers import MetaClip2Config, MetaClip2Model

    text = {**TOWER, **roberta_pieces(directory), "projection_dim": 12}
    _processor(directory, "CLIPImageProcessor", **CUT)
    config = MetaClip2Config(
        text_config={**text, "max_position_embeddings": 77}, vision_config=VISION, projection_dim=12
    )
    return MetaClip2Model(config)


def _siglip2(directory: Path) -> Any:
    from transformers import Siglip2Config, Siglip2Model

    text = {**TOWER, "vocab_size": gemma_vocabulary(directory), "max_position_embeddings": 64}
    text |= {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    vision = {**TOWER, "num_patches": 16, "patch_size": PATCH}
    _processor(
        directory,
        "Siglip2ImageProcessor",
        patch_size=PATCH,
        max_num_patches=20,
        resample=2,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    text["projection_size"] = TOWER["hidden_size"]
    return Siglip2Model(Siglip2Config(text_config=text, vision_config=vision))


def _tipsv2(directory: Path) -> Any:
    from transformers import Tipsv2Config, Tipsv2Model

    text = {**TOWER, **sentence_pieces(directory), "max_position_embeddings": 64}
    vision = {key: value for key, value in TOWER.items() if key != "intermediate_size"}
    square = {"height": SIZE, "width": SIZE}
    processor = {"image_processor_type": "Tipsv2ImageProcessor", "size": square, "resample": 2}
    tiny.write_json(  # the layout that transformers 5 writes
        directory / "processor_config.json",
        {"image_processor": {**processor, "do_normalize": False}},
    )
    config = Tipsv2Config(
        text_config=text, vision_config={**vision, "image_size": SIZE, "patch_size": PATCH}
    )
    return Tipsv2Model(config)


_MAKERS: dict[str, Callable[[Path], Any]] = {
    "align": _align,
    "altclip": _altclip,
    "blip": _blip,
    "chinese_clip": _chinese_clip,
    "clipseg": _clipseg,
    "metaclip_2": _metaclip_2,
    "siglip2": _siglip2,
    "tipsv2": _tipsv2,
}
KINDS = tuple(_MAKERS)
