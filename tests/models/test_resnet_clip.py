"""CLIP with a ResNet against a straight-line twin and against transformers' text tower."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file

from synood.errors import CheckpointError, InputError
from synood.models.bundles import load_bundle
from synood.models.resnet_clip import ResNetClipEncoder
from tiny_resnet_clip import tiny_resnet_clip

pytestmark = pytest.mark.numerical

PROMPTS = ["a photo of a cat", "tree", "the nice zebra", ""]
WEIGHTS = "open_clip_model.safetensors"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tiny_resnet_clip(tmp_path_factory.mktemp("rn"))


@pytest.fixture(scope="module")
def encoder(directory):
    return ResNetClipEncoder.from_pretrained(directory)


@pytest.fixture(scope="module")
def pictures():
    rows = []
    for seed, size in enumerate([(64, 64), (90, 70), (65, 131)]):
        coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        rows.append(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
    return rows


def twin(t, x):
    """The image tower written out in double precision, one operation of torch a line."""

    def conv(x, name, padding=0, stride=1):
        return F.conv2d(x, t[f"{name}.weight"], padding=padding, stride=stride)

    def norm(x, name):
        mean, var, weight, bias = (
            t[f"{name}.{part}"].view(1, -1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    x = norm(conv(x, "visual.conv1", padding=1, stride=2), "visual.bn1").clamp(min=0)
    x = norm(conv(x, "visual.conv2", padding=1), "visual.bn2").clamp(min=0)
    x = norm(conv(x, "visual.conv3", padding=1), "visual.bn3").clamp(min=0)
    x = F.avg_pool2d(x, 2)
    for place, stride in [("1.0", 1), ("1.1", 1), ("2.0", 2), ("3.0", 2), ("4.0", 2)]:
        name = f"visual.layer{place}"
        y = norm(conv(x, f"{name}.conv1"), f"{name}.bn1").clamp(min=0)
        y = norm(conv(y, f"{name}.conv2", padding=1), f"{name}.bn2").clamp(min=0)
        y = norm(conv(F.avg_pool2d(y, stride), f"{name}.conv3"), f"{name}.bn3")
        if place.endswith("0"):
            x = F.avg_pool2d(x, stride)
            x = norm(conv(x, f"{name}.downsample.0"), f"{name}.downsample.1")
        x = (x + y).clamp(min=0)
    cells = x.reshape(*x.shape[:2], -1).permute(2, 0, 1)
    cells = torch.cat([cells.mean(0, keepdim=True), cells])
    cells = cells + t["visual.attnpool.positional_embedding"][:, None]
    pool = {key[len("visual.attnpool.") :]: value for key, value in t.items() if "attnpool" in key}
    attended, _ = F.multi_head_attention_forward(
        cells[:1],
        cells,
        cells,
        embed_dim_to_check=x.shape[1],
        num_heads=x.shape[1] // 64,
        in_proj_weight=None,
        in_proj_bias=torch.cat([pool[f"{key}_proj.bias"] for key in "qkv"]),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0,
        out_proj_weight=pool["c_proj.weight"],
        out_proj_bias=pool["c_proj.bias"],
        use_separate_proj_weight=True,
        training=False,
        need_weights=False,
        q_proj_weight=pool["q_proj.weight"],
        k_proj_weight=pool["k_proj.weight"],
        v_proj_weight=pool["v_proj.weight"],
    )
    return attended[0]


def test_the_image_tower_is_its_twin(directory, encoder):
    tensors = {name: value.double() for name, value in load_file(directory / WEIGHTS).items()}
    x = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = twin(tensors, x.double())
    assert expected.std() > 0.01
    found = encoder._image_features(x).double()
    torch.testing.assert_close(found, expected, atol=1e-4 * expected.abs().max().item(), rtol=0)


@pytest.mark.parametrize("quick", [True, False])
def test_the_text_tower_is_that_of_transformers(tmp_path, quick):
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    directory = tiny_resnet_clip(tmp_path, quick)
    tensors = load_file(directory / WEIGHTS)
    encoder = ResNetClipEncoder.from_pretrained(directory)
    config = CLIPTextConfig(
        vocab_size=len(tensors["token_embedding.weight"]),
        hidden_size=64,
        intermediate_size=256,
        num_attention_heads=1,
        num_hidden_layers=2,
        max_position_embeddings=20,
        projection_dim=24,
        hidden_act="quick_gelu" if quick else "gelu",
        eos_token_id=encoder._tokenizer.eos_token_id,
    )
    tower = CLIPTextModelWithProjection(config).eval()
    tower.load_state_dict(as_transformers(tensors), strict=True)
    rows = encoder._tokenizer(PROMPTS, padding="max_length", max_length=20, return_tensors="pt")
    with torch.no_grad():
        expected = tower(**rows).text_embeds.numpy()
    np.testing.assert_allclose(encoder.encode_texts(PROMPTS), expected, atol=2e-5)


def as_transformers(tensors):
    """The text tower's tensors under the names of transformers, its three projections apart."""
    renamed = {
        "text_model.embeddings.token_embedding.weight": tensors["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": tensors["positional_embedding"],
        "text_model.final_layer_norm.weight": tensors["ln_final.weight"],
        "text_model.final_layer_norm.bias": tensors["ln_final.bias"],
        "text_projection.weight": tensors["text_projection"].T.contiguous(),
    }
    names = {"attn.out_proj": "self_attn.out_proj", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
    names |= {"ln_1": "layer_norm1", "ln_2": "layer_norm2"}
    for row in range(2):
        here, there = f"transformer.resblocks.{row}", f"text_model.encoder.layers.{row}"
        for kind in ("weight", "bias"):
            parts = tensors[f"{here}.attn.in_proj_{kind}"].chunk(3)
            for letter, part in zip("qkv", parts, strict=True):
                renamed[f"{there}.self_attn.{letter}_proj.{kind}"] = part
            for ours, theirs in names.items():
                renamed[f"{there}.{theirs}.{kind}"] = tensors[f"{here}.{ours}.{kind}"]
    return renamed


def test_states_what_the_checkpoint_is(encoder):
    assert (encoder.dim, encoder.image_size, encoder.logit_bias) == (24, 64, 0.0)
    assert encoder.logit_scale == pytest.approx(100, rel=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2, 256])
def test_a_text_does_not_depend_on_its_batch(encoder, batch_size):
    alone = np.concatenate([encoder.encode_texts([prompt]) for prompt in PROMPTS])
    np.testing.assert_allclose(encoder.encode_texts(PROMPTS, batch_size), alone, atol=1e-5)


def test_pixels_give_the_features_of_the_picture_and_pass_a_gradient(encoder, pictures):
    for picture in pictures:
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255
        pixels.requires_grad_()
        features = encoder.encode_pixels(pixels)
        own = torch.from_numpy(encoder.encode_images([picture]))
        assert F.cosine_similarity(features, own).min() > 0.999
        (gradient,) = torch.autograd.grad(features.sum(), pixels)
        assert torch.isfinite(gradient).all()
        assert gradient.abs().mean() > 0


def test_refuses_a_prompt_that_is_too_long(encoder):
    with pytest.raises(InputError, match="takes 25 tokens and the text tower 20"):
        encoder.encode_texts([" ".join(["tree"] * 23)])


def test_the_layout_of_openai_is_the_same_weights(directory, encoder, tmp_path, pictures):
    """As a state dict of OpenAI's archive saved as safetensors: half precision and some numbers."""
    copy = shutil.copytree(directory, tmp_path / "openai")
    tensors = {name: value.half() for name, value in load_file(copy / WEIGHTS).items()}
    extra = {"input_resolution": 64, "context_length": 20, "vocab_size": 999}
    tensors |= {name: torch.tensor(value) for name, value in extra.items()}
    save_file(tensors, copy / "model.safetensors")
    (copy / WEIGHTS).unlink()
    (copy / "open_clip_config.json").unlink()
    found = ResNetClipEncoder.from_pretrained(copy)
    assert found.preprocess.size == 64
    for one, two in [
        (found.encode_texts(PROMPTS), encoder.encode_texts(PROMPTS)),
        (found.encode_images(pictures), encoder.encode_images(pictures)),
    ]:
        np.testing.assert_allclose(one, two, atol=5e-3 * np.abs(two).max())


def test_open_clips_other_layout_is_the_same_weights(directory, encoder, tmp_path):
    copy = shutil.copytree(directory, tmp_path / "custom")
    tensors = load_file(copy / WEIGHTS)
    image = ("visual.", "logit_scale")
    renamed = {k if k.startswith(image) else f"text.{k}": v for k, v in tensors.items()}
    save_file(renamed, copy / WEIGHTS)
    found = ResNetClipEncoder.from_pretrained(copy)
    np.testing.assert_allclose(
        found.encode_texts(PROMPTS), encoder.encode_texts(PROMPTS), atol=1e-6
    )


@pytest.mark.parametrize("name", ["visual.layer3.0.bn2.bias", "text_projection", "ln_final.weight"])
def test_refuses_a_checkpoint_that_lacks_weights(directory, tmp_path, name):
    copy = shutil.copytree(directory, tmp_path / "copy")
    tensors = load_file(copy / WEIGHTS)
    del tensors[name]
    save_file(tensors, copy / WEIGHTS)
    with pytest.raises(CheckpointError, match=rf"copy: .*{name}"):
        ResNetClipEncoder.from_pretrained(copy)


def test_refuses_missing_cut_and_unknown_files(directory, tmp_path):
    copy = shutil.copytree(directory, tmp_path / "copy")
    weights = copy / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=r"open_clip_model\.safetensors: not readable"):
        ResNetClipEncoder.from_pretrained(copy)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"copy/model\.safetensors: missing"):
        ResNetClipEncoder.from_pretrained(copy)
    config = json.loads((directory / "open_clip_config.json").read_text())
    config["preprocess_cfg"]["resize_mode"] = "longest"
    shutil.copy(directory / WEIGHTS, weights)
    (copy / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"open_clip_config\.json: resize_mode 'longest'"):
        ResNetClipEncoder.from_pretrained(copy)


def test_a_bundle_tells_it_by_its_configuration(directory, encoder):
    bundle = load_bundle(f"mini+encoder={directory}+encoder.dtype=bfloat16")
    rough = bundle.encoder()
    assert rough.fingerprint != encoder.fingerprint
    found, exact = rough.encode_texts(PROMPTS), encoder.encode_texts(PROMPTS)
    assert found.dtype == np.float32
    assert F.cosine_similarity(torch.from_numpy(found), torch.from_numpy(exact)).min() > 0.99


def test_each_cell_keeps_its_own_value(directory, encoder, pictures):
    tensors = load_file(directory / WEIGHTS)
    stages = []
    hook = encoder._model.visual.layer4.register_forward_hook(lambda *call: stages.append(call[2]))
    found = encoder.encode_image_patches(pictures, batch_size=2)
    hook.remove()
    cells = torch.cat(stages).numpy()  # (3, width, 2, 2) of 64 pixels
    assert found.shape == (3, 4, encoder.dim)
    value, out = (f"visual.attnpool.{name}_proj" for name in "vc")
    for row in range(3):
        for place in range(4):
            cell = cells[row, :, place // 2, place % 2]
            own = tensors[f"{value}.weight"].numpy() @ cell + tensors[f"{value}.bias"].numpy()
            seen = tensors[f"{out}.weight"].numpy() @ own + tensors[f"{out}.bias"].numpy()
            assert found[row, place] == pytest.approx(seen, abs=1e-4)
