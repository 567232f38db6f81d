"""ClipEncoder against transformers' own towers and processor, on a tiny random checkpoint."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import tiny
from synood.errors import CheckpointError, InputError
from synood.images.presets import PREPROCESS
from synood.models.clip import ClipEncoder, ImageTextEncoder

pytestmark = pytest.mark.numerical

PROMPTS = ["a photo of a cat", "tree", "the nice zebra crossing", "This is a [doric photo", ""]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tiny.tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def encoder(directory):
    return ClipEncoder.from_pretrained(directory)


@pytest.fixture(scope="module")
def pictures():
    """Smooth pictures of several shapes, so that resizing filters agree."""
    rows = []
    for seed, size in enumerate([(32, 32), (90, 60), (40, 100), (64, 64), (33, 47)]):
        coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        rows.append(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
    return rows


def cosine(left, right):
    return (left * right).sum(-1) / np.linalg.norm(left, axis=-1) / np.linalg.norm(right, axis=-1)


def test_is_an_image_text_encoder(encoder):
    as_protocol: ImageTextEncoder = encoder
    assert (as_protocol.dim, as_protocol.image_size) == (16, 32)
    assert as_protocol.logit_scale == pytest.approx(np.exp(2.6592))
    assert len(as_protocol.fingerprint) == 16


def test_text_features_are_those_of_transformers_padded_to_the_full_context(directory, encoder):
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer

    tower = CLIPTextModelWithProjection.from_pretrained(directory).eval()
    tokenizer = CLIPTokenizer.from_pretrained(directory)
    inputs = tokenizer(PROMPTS, padding="max_length", max_length=77, return_tensors="pt")
    with torch.no_grad():
        expected = tower(**inputs).text_embeds.numpy()
    features = encoder.encode_texts(PROMPTS)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, atol=1e-5)
    assert np.std(np.linalg.norm(features, axis=1)) > 1e-3  # not normalised


@pytest.mark.parametrize("batch_size", [1, 2, 256])
def test_a_text_does_not_depend_on_its_batch(encoder, batch_size):
    alone = np.concatenate([encoder.encode_texts([prompt]) for prompt in PROMPTS])
    np.testing.assert_allclose(encoder.encode_texts(PROMPTS, batch_size), alone, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(PROMPTS[::-1], 2)[::-1], alone, atol=1e-5)


def test_image_features_are_those_of_transformers(directory, encoder, pictures):
    from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

    tower = CLIPVisionModelWithProjection.from_pretrained(directory).eval()
    processor = CLIPImageProcessorPil.from_pretrained(directory)
    with torch.no_grad():
        expected = tower(**processor(pictures, return_tensors="pt")).image_embeds.numpy()
    features = encoder.encode_images(pictures)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, atol=0.02 * np.abs(expected).max())
    assert cosine(features, expected).min() > 0.9999


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_an_image_does_not_depend_on_its_batch(encoder, pictures, batch_size):
    alone = np.concatenate([encoder.encode_images([picture]) for picture in pictures])
    np.testing.assert_allclose(encoder.encode_images(pictures, batch_size), alone, atol=1e-5)


def test_pixels_give_the_features_of_the_picture(encoder, pictures):
    for picture in pictures:
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255
        features = encoder.encode_pixels(pixels).numpy()
        assert cosine(features, encoder.encode_images([picture])).min() > 0.999


def test_pixels_pass_a_gradient(encoder):
    pixels = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    pixels.requires_grad_()
    (gradient,) = torch.autograd.grad(encoder.encode_pixels(pixels).sum(), pixels)
    assert gradient.abs().mean() > 0
    assert torch.isfinite(gradient).all()


def test_takes_another_preprocess(directory):
    squash = PREPROCESS["clip"].__class__("own", 32, "lanczos", "squash", (0.5,) * 3, (0.5,) * 3)
    encoder = ClipEncoder.from_pretrained(directory, preprocess=squash)
    assert encoder.encode_images([Image.new("RGB", (64, 16))]).shape == (1, 16)
    with pytest.raises(InputError, match="lanczos"):
        encoder.encode_pixels(torch.zeros(1, 3, 64, 64))
    assert encoder.fingerprint != ClipEncoder.from_pretrained(directory).fingerprint


def test_nothing_in_nothing_out(encoder):
    assert encoder.encode_texts([]).shape == (0, 16)
    assert encoder.encode_images([]).shape == (0, 16)


def test_refuses_a_prompt_that_the_tower_cannot_take_whole(encoder):
    fits = " ".join(["tree"] * 75)
    assert encoder.encode_texts([fits]).shape == (1, 16)
    with pytest.raises(InputError, match=r'"tree tree.* takes 78 tokens and the text tower 77'):
        encoder.encode_texts(["cat", fits + " tree"])


def copied(directory, tmp_path):
    return shutil.copytree(directory, tmp_path / "copy")


@pytest.mark.parametrize("tower", ["text_model", "vision_model", "text_projection"])
def test_refuses_a_checkpoint_that_lacks_weights(directory, tmp_path, tower, capfd):
    copy = copied(directory, tmp_path)
    tensors = load_file(copy / "model.safetensors")
    gone = next(name for name in sorted(tensors) if name.startswith(tower))
    del tensors[gone]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=rf"1 weights are missing, the first is {gone}"):
        ClipEncoder.from_pretrained(copy)
    assert capfd.readouterr() == ("", "")  # one error, and no report beside it


def test_refuses_weights_of_another_shape(directory, tmp_path):
    copy = copied(directory, tmp_path)
    tensors = load_file(copy / "model.safetensors")
    tensors["visual_projection.weight"] = torch.zeros(16, 8)
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="copy"):
        ClipEncoder.from_pretrained(copy)


@pytest.mark.parametrize(
    "file", ["config.json", "model.safetensors", "vocab.json", "preprocessor_config.json"]
)
def test_refuses_a_missing_file(directory, tmp_path, file):
    copy = copied(directory, tmp_path)
    (copy / file).unlink()
    with pytest.raises(CheckpointError, match="copy"):
        ClipEncoder.from_pretrained(copy)


def test_refuses_a_tokenizer_of_another_model(directory, tmp_path):
    copy = copied(directory, tmp_path)
    vocabulary = json.loads((copy / "vocab.json").read_text(encoding="utf-8"))
    vocabulary["foreign</w>"] = 9999
    (copy / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"ids go up to 9999"):
        ClipEncoder.from_pretrained(copy)


def test_refuses_a_configuration_that_reads_text_features_at_another_token(directory, tmp_path):
    copy = copied(directory, tmp_path)
    config = json.loads((copy / "config.json").read_text())
    config["text_config"]["eos_token_id"] = 7
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="eos_token_id is 7"):
        ClipEncoder.from_pretrained(copy)


def test_the_fingerprint_follows_the_contents_and_not_the_place(directory, tmp_path, encoder):
    copy = copied(directory, tmp_path)
    assert ClipEncoder.from_pretrained(copy).fingerprint == encoder.fingerprint
    tensors = load_file(copy / "model.safetensors")
    tensors["logit_scale"] += 1
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    assert ClipEncoder.from_pretrained(copy).fingerprint != encoder.fingerprint


def test_half_precision_gives_float32_features_close_to_single(directory, encoder, pictures):
    half = ClipEncoder.from_pretrained(directory, dtype=torch.bfloat16)
    for single, rough in [
        (encoder.encode_texts(PROMPTS), half.encode_texts(PROMPTS)),
        (encoder.encode_images(pictures), half.encode_images(pictures)),
    ]:
        assert rough.dtype == np.float32
        assert cosine(single, rough).min() > 0.99


def test_patches_keep_their_own_value_in_the_last_block(directory, encoder, pictures):
    found = encoder.encode_image_patches(pictures, batch_size=2)
    assert found.shape == (5, 16, 16)  # 4 x 4 patches
    weights = load_file(directory / "model.safetensors")

    def linear(name, x):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name, x):
        x = (x - x.mean(-1, keepdim=True)) / torch.sqrt(
            x.var(-1, keepdim=True, correction=0) + 1e-5
        )
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    from transformers import CLIPVisionModel

    tower = CLIPVisionModel.from_pretrained(directory)
    inputs = torch.from_numpy(np.stack([encoder.preprocess.apply(p) for p in pictures]))
    with torch.no_grad():
        x = tower(pixel_values=inputs, output_hidden_states=True).hidden_states[-2][:, 1:]
    block = "vision_model.encoder.layers.1"
    x = x + linear(
        f"{block}.self_attn.out_proj",
        linear(f"{block}.self_attn.v_proj", norm(f"{block}.layer_norm1", x)),
    )
    hidden = linear(f"{block}.mlp.fc1", norm(f"{block}.layer_norm2", x))
    x = x + linear(f"{block}.mlp.fc2", hidden * torch.sigmoid(1.702 * hidden))
    local = norm("vision_model.post_layernorm", x) @ weights["visual_projection.weight"].T
    assert found == pytest.approx(local.numpy(), abs=1e-5)
