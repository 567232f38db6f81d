"""open_clip and timm behind the adapters: for real where torchvision is, a sentence where not.

`make test` has no torchvision (its builds do not fit the CPU build of torch), so there only the
sentence is seen. On a machine with the extras the rest runs too.
"""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import tiny
from synood.errors import CheckpointError, InputError
from synood.models.bundles import load_bundle
from synood.models.open_clip import OpenClipEncoder
from synood.models.timm_classifier import TimmClassifier, preprocess_of

PROMPTS = ["a photo of a cat", "tree"]
real = pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision is absent")
PLAIN = {"crop_pct": 0.875, "crop_mode": "center", "mean": (0.5,) * 3, "std": (0.5,) * 3}


def picture(seed: int, size: tuple[int, int]) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


@pytest.mark.skipif(find_spec("open_clip") is not None, reason="open_clip is there")
def test_without_the_extra_an_encoder_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "open_clip_config.json").write_text('{"model_cfg": {"vision_cfg": {"layers": 2}}}')
    with pytest.raises(InputError, match=r"open_clip cannot be imported .*synood\[open-clip\]"):
        load_bundle(f"mini+encoder={tmp_path}").encoder()


@pytest.mark.skipif(find_spec("timm") is not None, reason="timm is there")
def test_without_the_extra_a_classifier_is_refused_in_one_sentence(tmp_path):
    config = {"architecture": "resnet18", "pretrained_cfg": {}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"timm cannot be imported .*synood\[timm\]"):
        load_bundle(f"mini+classifier={tmp_path}").classifier()


@pytest.mark.parametrize(
    ("change", "resize"),
    [
        ({"input_size": (3, 224, 224), "interpolation": "bicubic"}, 256),
        ({"input_size": (3, 240, 240), "interpolation": "bilinear", "crop_pct": 0.95}, 252),
        (
            {"input_size": (3, 64, 48), "crop_mode": "squash", "interpolation": "bicubic"},
            (73, 54),
        ),
    ],
)
def test_what_timm_says_of_the_data_is_the_preprocessing(change, resize):
    steps = preprocess_of({**PLAIN, **change}, "config.json")
    assert (steps.resize, steps.crop) == (resize, change["input_size"][1:])


@pytest.mark.parametrize(
    "change", [{"crop_mode": "border"}, {"interpolation": "random"}, {"input_size": (3, 8, 9)}]
)
def test_a_preprocessing_that_is_not_known_is_refused(change):
    settings = {**PLAIN, "input_size": (3, 8, 8), "interpolation": "bicubic", **change}
    with pytest.raises(InputError, match=r"config\.json: crop_mode"):
        preprocess_of(settings, "config.json")


@pytest.fixture
def open_clip_folder(tmp_path):
    """A small ViT of OpenCLIP's with a bias, saved as its owners push it to the hub."""
    import open_clip

    vision = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8}
    text = {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}
    model_cfg = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}
    config = {"model_cfg": {**model_cfg, "init_logit_bias": -10}, "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with tiny.seeded(0):
        model = open_clip.CLIP(**model_cfg, init_logit_bias=-10)
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    tensors.pop("attn_mask", None)
    save_file(tensors, tmp_path / "open_clip_model.safetensors")
    return tmp_path


@real
def test_an_encoder_of_open_clip_gives_its_features(open_clip_folder):
    import open_clip

    encoder = load_bundle(f"mini+encoder={open_clip_folder}").encoder()
    assert isinstance(encoder, OpenClipEncoder)
    name = f"local-dir:{open_clip_folder}"
    model, transform = open_clip.create_model_from_pretrained(name)
    images = [picture(0, (90, 61)), picture(1, (40, 70))]
    with torch.no_grad():
        texts = model.encode_text(open_clip.get_tokenizer(name)(PROMPTS))
        pictures = model.encode_image(torch.stack([transform(image) for image in images]))
    np.testing.assert_allclose(encoder.encode_texts(PROMPTS), texts.numpy(), atol=1e-5)
    np.testing.assert_allclose(encoder.encode_images(images), pictures.numpy(), atol=1e-4)
    assert (encoder.dim, encoder.image_size, encoder.logit_bias) == (24, 32, -10)
    with pytest.raises(InputError, match="takes more than the 16 tokens"):
        encoder.encode_texts(["cat", "cat " * 15])
    assert encoder.encode_texts(["cat " * 14]).shape == (1, 24)
    recipe = load_bundle(f"mini+encoder={open_clip_folder}").recipe_defaults
    assert recipe["projection.logit_scale"] == pytest.approx(encoder.logit_scale)


@real
def test_an_incomplete_encoder_of_open_clip_is_refused(open_clip_folder):
    (open_clip_folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(CheckpointError):
        OpenClipEncoder.from_pretrained(open_clip_folder)


@pytest.fixture
def timm_folder(tmp_path):
    import timm

    with tiny.seeded(0):
        model = timm.create_model("test_resnet", num_classes=3).eval()
    settings = {**PLAIN, "input_size": [3, 64, 64], "interpolation": "bicubic", "num_classes": 3}
    config = {"architecture": "test_resnet", "num_classes": 3, "pretrained_cfg": settings}
    config["label_names"] = ["cat", "dog", "fox"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    return tmp_path


@real
def test_a_classifier_of_timm_gives_its_logits(timm_folder):
    import timm

    classifier = load_bundle(f"mini+classifier={timm_folder}").classifier()
    assert isinstance(classifier, TimmClassifier)
    assert classifier.class_names == ("cat", "dog", "fox")
    model = timm.create_model(f"local-dir:{timm_folder}", pretrained=True).eval()
    settings = timm.data.resolve_model_data_config(model)
    transform = timm.data.create_transform(**settings, is_training=False)
    for seed, size in enumerate([(64, 64), (90, 61), (71, 140)]):
        image = picture(seed, size)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            expected = model(transform(image)[None])
        torch.testing.assert_close(classifier.logits(pixels), expected, atol=1e-2, rtol=0)


@real
def test_an_incomplete_classifier_of_timm_is_refused(timm_folder):
    (timm_folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError):
        TimmClassifier.from_pretrained(timm_folder)
