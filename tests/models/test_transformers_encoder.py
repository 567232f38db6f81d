"""One adapter for eight kinds of image-text models, against transformers' own forward pass."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import hub_cache
from synood import OODDetector
from synood.errors import CheckpointError, InputError
from synood.models.bundles import load_bundle
from synood.models.families import FAMILIES
from synood.models.image_processors import load_preprocess
from synood.models.presets import with_preset
from synood.models.transformers_encoder import TransformersEncoder
from synood.scores import normalise
from tiny_families import KINDS, SIZE, tiny_family

pytestmark = pytest.mark.numerical

PROMPTS = ["a photo of a cat", "tree", "the nice zebra crossing of the only river", "x"]
LENGTHS = {"align": 64, "altclip": 77, "chinese_clip": 52, "siglip2": 64, "tipsv2": 64}  # authors'


def change_config(directory, **changes):
    """Rewrite fields of a checkpoint's config.json."""
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    return {kind: tiny_family(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def directory(directories, kind):
    return directories[kind]


@pytest.fixture(scope="module")
def encoder(directory):
    return load_bundle(f"mini+encoder={directory}").encoder()


@pytest.fixture(scope="module")
def pictures():
    rows = []
    for seed, size in enumerate([(32, 32), (90, 61), (41, 100), (64, 20), (33, 47)]):
        coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        rows.append(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
    return rows


def library_pixels(kind, directory, pictures):
    """What transformers' own processor on Pillow makes of pictures."""
    from transformers import AutoImageProcessor

    if kind != "tipsv2":
        return AutoImageProcessor.from_pretrained(directory)(pictures, return_tensors="pt")
    # this processor wants torchvision: squashed by Pillow, bytes divided by 255, nothing more
    small = [np.asarray(p.resize((SIZE, SIZE), Image.Resampling.BILINEAR)) for p in pictures]
    return {"pixel_values": torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2) / 255}


def library_tokens(kind, directory, prompts):
    """The library's own tokens, padded to the length that the authors pad to."""
    from transformers import AutoTokenizer, Siglip2Tokenizer

    loader = Siglip2Tokenizer if kind == "siglip2" else AutoTokenizer
    tokens = loader.from_pretrained(directory)(
        prompts, padding="max_length", max_length=LENGTHS.get(kind, 40), return_tensors="pt"
    )
    if kind == "siglip2":  # trained without a mask
        return {"input_ids": tokens["input_ids"]}
    return {name: tokens[name] for name in ("input_ids", "attention_mask")}


def test_matches_are_as_likely_as_the_model_says(kind, directory, encoder, pictures):
    """Scale, bias, tokens, masks, pooling and pixels: all of it shows in these logits."""
    from transformers import AutoModelForZeroShotImageClassification

    model = AutoModelForZeroShotImageClassification.from_pretrained(directory).eval()
    with torch.no_grad():
        output = model(
            **library_tokens(kind, directory, PROMPTS),
            **library_pixels(kind, directory, pictures),
        )
    images, texts = encoder.encode_images(pictures), encoder.encode_texts(PROMPTS)
    cosines = normalise(images).astype(np.float64) @ normalise(texts).T.astype(np.float64)
    logits = encoder.logit_scale * cosines + encoder.logit_bias
    np.testing.assert_allclose(logits, output.logits_per_image.numpy(), atol=2e-3)
    assert np.ptp(logits, axis=0).max() > 0.01 < np.ptp(logits, axis=1).max()  # not all one
    assert np.abs(np.linalg.norm(images, axis=1) - 1).min() > 1e-3  # not normalised
    assert images.dtype == texts.dtype == np.float32
    assert images.shape[1] == texts.shape[1] == encoder.dim


@pytest.mark.parametrize("batch_size", [1, 2, 256])
def test_a_text_does_not_depend_on_its_batch(encoder, batch_size):
    alone = np.concatenate([encoder.encode_texts([prompt]) for prompt in PROMPTS])
    np.testing.assert_allclose(encoder.encode_texts(PROMPTS, batch_size), alone, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(PROMPTS[::-1], 2)[::-1], alone, atol=1e-5)
    assert encoder.encode_texts([]).shape == (0, encoder.dim)


def test_an_image_does_not_depend_on_its_batch(encoder, pictures):
    alone = np.concatenate([encoder.encode_images([picture]) for picture in pictures])
    np.testing.assert_allclose(encoder.encode_images(pictures), alone, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_images(pictures, 2), alone, atol=1e-5)
    assert encoder.encode_images([]).shape == (0, encoder.dim)


def test_pixels_give_the_features_of_the_picture_and_pass_a_gradient(encoder, pictures):
    for picture in pictures:
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255
        pixels.requires_grad_()
        features = encoder.encode_pixels(pixels)
        own = torch.from_numpy(encoder.encode_images([picture]))
        assert torch.nn.functional.cosine_similarity(features, own).min() > 0.999
        (gradient,) = torch.autograd.grad(features.square().sum(), pixels)
        assert gradient.abs().mean() > 0


def test_capitals_count_only_where_the_tokenizer_keeps_them(kind, encoder):
    pair = encoder.encode_texts(["A Photo of a CAT", "a photo of a cat"])
    assert np.allclose(*pair, atol=1e-6) == (kind not in ("altclip", "metaclip_2"))


def test_a_prompt_that_is_too_long_is_refused_by_name(kind, encoder):
    limit = min(LENGTHS.get(kind, 77), encoder._context)
    with pytest.raises(InputError, match=rf"cat cat.*tokens and the text tower {limit}; shorten"):
        encoder.encode_texts(["x", "cat " * 90])


def test_a_bundle_tells_its_kind_and_the_scale_without_loading_it(directory, encoder):
    bundle = load_bundle(f"mini+encoder={directory}")
    assert bundle.score_temperature == pytest.approx(1 / encoder.logit_scale)
    assert bundle.recipe_defaults["projection.logit_scale"] == pytest.approx(encoder.logit_scale)
    assert bundle.encoder().fingerprint == encoder.fingerprint
    assert load_bundle(f"mini+encoder={directory}+encoder.dtype=bfloat16").encoder().dim


def test_a_hub_id_loads_as_its_folder_does(kind, directory, encoder, pictures, tmp_path):
    hub_cache.put(tmp_path / "hub", f"me/{kind}", shutil.copytree(directory, tmp_path / "copy"))
    with hub_cache.using_cache(tmp_path / "hub"):
        found = load_bundle(f"mini+encoder=me/{kind}").encoder()
    np.testing.assert_array_equal(found.encode_images(pictures), encoder.encode_images(pictures))
    np.testing.assert_array_equal(found.encode_texts(PROMPTS), encoder.encode_texts(PROMPTS))


def test_a_detector_of_class_names_scores_images(directory, pictures, tmp_path):
    models = f"mini+encoder={directory}"
    detector = OODDetector.from_classes(["cat", "tree"], models, negatives=["river", "zebra"])
    detector.save_pretrained(tmp_path / "detector")
    again = OODDetector.from_pretrained(tmp_path / "detector")
    np.testing.assert_array_equal(again.score(pictures), detector.score(pictures))


def test_the_fingerprint_changes_with_weights_vocabulary_and_processor(directories, tmp_path):
    source = directories["tipsv2"]
    before = load_bundle(f"mini+encoder={source}").encoder().fingerprint
    for name in ("model.safetensors", "tokenizer.model", "processor_config.json"):
        copy = shutil.copytree(source, tmp_path / name)
        if name == "model.safetensors":
            weights = load_file(copy / name)
            weights["temperature"] += 0.01
            save_file(weights, copy / name, {"format": "pt"})
        elif name == "processor_config.json":
            settings = json.loads((copy / name).read_text())
            settings["image_processor"]["resample"] = 3
            (copy / name).write_text(json.dumps(settings))
        else:
            data = (copy / name).read_bytes()
            assert b"ree" in data  # a piece of "tree"
            (copy / name).write_bytes(data.replace(b"ree", b"roo"))
        assert load_bundle(f"mini+encoder={copy}").encoder().fingerprint != before


def test_tips_has_its_temperature_from_the_configuration(directories, tmp_path):
    """As published: transformers leaves the weight to the configuration too."""
    copy = shutil.copytree(directories["tipsv2"], tmp_path / "tips")
    weights = load_file(copy / "model.safetensors")
    del weights["temperature"]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    change_config(copy, temperature_init_value=0.005)
    bundle = load_bundle(f"mini+encoder={copy}")
    assert bundle.score_temperature == pytest.approx(0.005)
    assert bundle.encoder().logit_scale == pytest.approx(200)


def test_a_preset_replaces_the_preprocessing(directories, pictures):
    encoder = TransformersEncoder.from_pretrained(directories["metaclip_2"])
    changed = with_preset(encoder, "openood")
    assert changed.fingerprint != encoder.fingerprint
    assert not np.allclose(changed.encode_images(pictures), encoder.encode_images(pictures))


def test_settings_that_a_file_leaves_out_are_those_of_its_processor(tmp_path):
    """A file of two lines, as transformers 5 may write it."""
    from transformers import BitImageProcessorPil, DeiTImageProcessorPil

    picture = Image.effect_noise((300, 260), 90).convert("RGB")
    for kind in (BitImageProcessorPil, DeiTImageProcessorPil):
        name = kind.__name__.removesuffix("Pil")
        config = {"image_processor_type": name, "image_mean": [0.4, 0.5, 0.6], "do_pad": None}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
        expected = kind.from_pretrained(tmp_path)(picture, return_tensors="np")["pixel_values"][0]
        found = load_preprocess(tmp_path).apply(picture)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("model_type", ["blip-2", "videoprism"])
def test_what_cannot_work_is_refused_by_name_with_the_reason(model_type, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    reason = {"blip-2": "BLIP-2 gives an image many", "videoprism": "VideoPrism reads videos"}
    with pytest.raises(CheckpointError, match=reason[model_type]):
        load_bundle(f"mini+encoder={tmp_path}").encoder()


def test_every_model_that_transformers_maps_is_taken_or_refused_with_a_reason():
    from transformers.models.auto import modeling_auto

    from synood.models.families import REFUSED

    mapped = modeling_auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES
    assert mapped.keys() <= FAMILIES.keys() | REFUSED.keys() | {"clip", "siglip"}


def test_a_blip_without_a_scale_is_refused(directories, tmp_path):
    copy = shutil.copytree(directories["blip"], tmp_path / "blip")
    change_config(copy, architectures=["BlipForImageTextRetrieval"])
    with pytest.raises(CheckpointError, match="is a BlipForImageTextRetrieval, which has no scale"):
        load_bundle(f"mini+encoder={copy}").encoder()


def test_parts_that_do_not_belong_together_are_refused(directories, tmp_path):
    def damaged(kind, change):
        copy = shutil.copytree(directories[kind], tmp_path / f"{kind}-{change.__name__}")
        change(copy)
        return f"mini+encoder={copy}"

    def without_vocabulary(copy):
        (copy / "vocab.txt").unlink()

    def other_end(copy):
        text = json.loads((copy / "config.json").read_text())["text_config"]
        change_config(copy, text_config={**text, "eos_token_id": 5})

    def other_size(copy):
        path = copy / "preprocessor_config.json"
        larger = {"height": 48, "width": 48}
        path.write_text(json.dumps({**json.loads(path.read_text()), "size": larger}))

    def without_weights(copy):
        weights = load_file(copy / "model.safetensors")
        del weights["text_projection.weight"]
        save_file(weights, copy / "model.safetensors", {"format": "pt"})

    for kind, change, message in (
        ("align", without_vocabulary, "its vocabulary is missing"),
        ("metaclip_2", other_end, "eos_token_id is 5 in config.json and 2 in the tokenizer"),
        ("blip", other_size, "takes 32 pixels and its preprocessor_config.json makes 48"),
        ("altclip", without_weights, "weights are missing, the first is text_projection.weight"),
    ):
        with pytest.raises(CheckpointError, match=message):
            load_bundle(damaged(kind, change)).encoder()


def test_weights_in_a_pickle_are_not_opened_and_it_is_told_what_to_do(directories, tmp_path):
    copy = shutil.copytree(directories["chinese_clip"], tmp_path / "copy")
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    bundle = load_bundle(f"mini+encoder={copy}")
    for use in (bundle.encoder, lambda: bundle.score_temperature):
        with pytest.raises(CheckpointError, match=r"copy: no complete .*safetensors, .*models\.md"):
            use()


def test_an_old_transformers_is_named(directories, monkeypatch):
    class Older:
        __version__ = "5.0.0"

    monkeypatch.setitem(sys.modules, "transformers", Older)
    with pytest.raises(InputError, match="has no Tipsv2Model; pip install -U transformers"):
        TransformersEncoder.from_pretrained(directories["tipsv2"])


def test_a_text_without_a_token_is_refused_where_the_tower_needs_one(directories):
    encoder = TransformersEncoder.from_pretrained(directories["tipsv2"])
    with pytest.raises(InputError, match="reads no token in ''"):
        encoder.encode_texts(["cat", ""])
    assert TransformersEncoder.from_pretrained(directories["blip"]).encode_texts([""]).shape
