"""Encoders of images alone against transformers' own models, heads and image processors."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from synood import OODDetector
from synood.errors import CheckpointError, InputError
from synood.models.bundles import load_bundle
from synood.models.families import VISION
from synood.models.presets import with_preset
from synood.models.vision_encoder import VisionEncoder
from tiny_vision import KINDS, MODELS, SIZE, tiny_vision

pytestmark = pytest.mark.numerical

ON_TORCHVISION = ("dinov3_vit", "dinov3_convnext", "tipsv2_vision_model")


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    return {kind: tiny_vision(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def encoder(directories, kind):
    return load_bundle(f"mini+encoder={directories[kind]}").encoder()


@pytest.fixture(scope="module")
def pictures():
    rows = []
    for seed, size in enumerate([(32, 32), (90, 61), (41, 100), (64, 40)]):
        coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        rows.append(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
    return rows


def library_pixels(kind, directory, pictures):
    """What transformers' own processor on Pillow makes of pictures."""
    from transformers import AutoImageProcessor

    if kind not in ON_TORCHVISION:
        return AutoImageProcessor.from_pretrained(directory)(pictures, return_tensors="pt")
    # these processors want torchvision: squashed by Pillow, bytes divided by 255
    small = [np.asarray(p.resize((SIZE, SIZE), Image.Resampling.BILINEAR)) for p in pictures]
    pixels = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2) / 255
    if kind != "tipsv2_vision_model":
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        pixels = (pixels - mean[:, None, None]) / std[:, None, None]
    return {"pixel_values": pixels}


def by_library(kind, directory, pictures):
    """The feature that the library's own classifiers of this model put their head on."""
    import transformers

    inputs = library_pixels(kind, directory, pictures)
    with torch.no_grad():
        if kind in ("vit", "deit"):  # what the linear head of a published classifier is given
            model = getattr(transformers, MODELS[kind][1]).from_pretrained(directory).eval()
            seen = []
            model.classifier.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
            model(**inputs)
            return seen[0].numpy()
        output = transformers.AutoModel.from_pretrained(directory).eval()(**inputs)
        if kind == "vit_msn":
            return output.last_hidden_state[:, 0].numpy()
        if kind == "ijepa":
            return output.last_hidden_state.mean(1).numpy()
        return output.pooler_output.reshape(len(pictures), -1).numpy()


def assert_close(found, expected):
    """Equal to four digits of the largest: random networks amplify rounding."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_features_are_those_that_the_authors_use(kind, directories, encoder, pictures):
    expected = by_library(kind, directories[kind], pictures)
    found = encoder.encode_images(pictures)
    assert found.shape == (len(pictures), encoder.dim)
    assert_close(found, expected)
    assert np.abs(found - found[0]).max(axis=1)[1:].min() > 1e-3  # not all one


@pytest.mark.parametrize("kind", ["dinov3_vit", "tipsv2_vision_model"])
def test_a_processor_of_torchvision_differs_by_a_grey_level(directories, kind, pictures):
    """It resizes tensors, DINOv3's before they are bytes again: torch's antialiased bilinear."""
    steps = VisionEncoder.from_pretrained(directories[kind]).preprocess
    for picture in pictures:
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
        theirs = torch.nn.functional.interpolate(
            pixels, (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False
        )
        apart = np.abs(steps.pixels(picture) - theirs[0].numpy()) * 255
        assert apart.max() < 1.1
        assert apart.mean() < 0.5


@pytest.mark.parametrize("kind", ["dinov2", "dinov2_with_registers", "dinov3_vit"])
def test_of_dino_the_normalised_class_token_is_taken(kind, directories, pictures):
    import transformers

    model = transformers.AutoModel.from_pretrained(directories[kind]).eval()
    with torch.no_grad():
        output = model(**library_pixels(kind, directories[kind], pictures))
    found = VisionEncoder.from_pretrained(directories[kind]).encode_images(pictures)
    assert_close(found, output.last_hidden_state[:, 0].numpy())


def test_an_image_does_not_depend_on_its_batch(encoder, pictures):
    alone = np.concatenate([encoder.encode_images([picture]) for picture in pictures])
    assert_close(encoder.encode_images(pictures, 3), alone)
    assert encoder.encode_images([]).shape == (0, encoder.dim)


def test_pixels_give_the_features_of_the_picture_and_pass_a_gradient(encoder, pictures):
    picture = pictures[1]
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255
    pixels.requires_grad_()
    features = encoder.encode_pixels(pixels)
    own = torch.from_numpy(encoder.encode_images([picture]))
    assert torch.nn.functional.cosine_similarity(features, own).min() > 0.99
    (gradient,) = torch.autograd.grad(features.square().sum(), pixels)
    assert gradient.abs().mean() > 0


def test_texts_are_refused_by_name(directories, kind, encoder):
    with pytest.raises(InputError, match=r"encoder '.*': reads images alone.*`synood fit`"):
        encoder.encode_texts(["a cat"])
    with pytest.raises(InputError, match=r"encoder '.*': reads images alone"):
        OODDetector.from_classes(["cat", "dog"], f"photo+encoder={directories[kind]}")


def test_every_model_of_the_table_is_built_here():
    assert tuple(VISION) == KINDS


def test_the_poolers_of_a_vit_need_not_be_there(directories):
    """A published classifier has none, and transformers would fill in random numbers."""
    names = load_file(directories["vit"] / "model.safetensors")
    assert not [name for name in names if "pooler" in name]


def test_a_preset_replaces_the_preprocessing(directories, pictures):
    encoder = VisionEncoder.from_pretrained(directories["dinov2"])
    changed = with_preset(encoder, "neglabel")
    assert changed.fingerprint != encoder.fingerprint
    assert not np.allclose(changed.encode_images(pictures), encoder.encode_images(pictures))


def test_what_cannot_be_used_is_refused_by_name(directories, tmp_path):
    copy = shutil.copytree(directories["vit"], tmp_path / "vit")
    steps = copy / "preprocessor_config.json"
    settings = json.loads(steps.read_text())
    for change, kind, message in (
        ({"image_processor_type": "MobileViTImageProcessor"}, InputError, "what a MobileViTImage"),
        ({"image_processor_type": None}, InputError, "what a processor without a name"),
        ({"size": {"height": 48, "width": 48}}, CheckpointError, "tower takes 32 pixels and its"),
    ):
        steps.write_text(json.dumps({**settings, **change}))
        with pytest.raises(kind, match=message):
            load_bundle(f"mini+encoder={copy}").encoder()
    (copy / "config.json").write_text(json.dumps({"model_type": "vit_mae"}))
    with pytest.raises(CheckpointError, match="a masked autoencoder hides"):
        load_bundle(f"mini+encoder={copy}").encoder()
    (copy / "config.json").write_text(json.dumps({"model_type": "detr"}))
    with pytest.raises(CheckpointError, match="matches no kind of encoder"):
        load_bundle(f"mini+encoder={copy}").encoder()
    with pytest.raises(CheckpointError, match="is no vision model that is known here"):
        VisionEncoder.from_pretrained(copy)


def test_missing_weights_are_refused(directories, tmp_path):
    copy = shutil.copytree(directories["dinov2"], tmp_path / "copy")
    weights = load_file(copy / "model.safetensors")
    del weights["layernorm.weight"]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"1 weights are missing, the first is layernorm"):
        VisionEncoder.from_pretrained(copy)
