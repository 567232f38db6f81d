"""SigLIP encoders of both generations against transformers' own model, tokenizer and processor."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from synood import OODDetector
from synood.errors import CheckpointError, InputError
from synood.models.bundles import load_bundle
from synood.models.siglip import SiglipEncoder
from synood.pipeline.recipe import resolve_recipe
from synood.scores import neglabel, normalise
from tiny_encoders import tiny_siglip

pytestmark = pytest.mark.numerical

PROMPTS = ["a photo of a cat", "tree", "a nice tree", "the only river"]
CONTEXT = 32


@pytest.fixture(scope="module", params=[1, 2])
def directory(request, tmp_path_factory):
    return tiny_siglip(tmp_path_factory.mktemp("siglip"), request.param, CONTEXT)


@pytest.fixture(scope="module")
def encoder(directory):
    return SiglipEncoder.from_pretrained(directory)


@pytest.fixture(scope="module")
def pictures():
    rows = []
    for seed, size in enumerate([(32, 32), (90, 61), (41, 100)]):
        coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        rows.append(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
    return rows


def whole(encoder, prompts):
    """The library's own tokens, padded as SigLIP was trained."""
    options = {"padding": "max_length", "max_length": CONTEXT, "return_tensors": "pt"}
    return encoder._tokenizer(prompts, **options)["input_ids"]


def test_matches_are_as_likely_as_the_model_says(directory, encoder, pictures):
    """With the encoder's scale and bias: what a pair's probability is in these models."""
    from transformers import SiglipImageProcessorPil, SiglipModel

    model = SiglipModel.from_pretrained(directory).eval()
    pixels = SiglipImageProcessorPil.from_pretrained(directory)(pictures, return_tensors="pt")
    with torch.no_grad():
        output = model(input_ids=whole(encoder, PROMPTS), pixel_values=pixels["pixel_values"])
    images, texts = encoder.encode_images(pictures), encoder.encode_texts(PROMPTS)
    cosines = normalise(images) @ normalise(texts).T
    logits = encoder.logit_scale * cosines + encoder.logit_bias
    np.testing.assert_allclose(logits, output.logits_per_image.numpy(), atol=0.2)
    assert encoder.logit_bias == pytest.approx(-12.9)
    assert encoder.logit_scale == pytest.approx(np.exp(4.7), rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 256])
def test_a_text_does_not_depend_on_its_batch(encoder, batch_size):
    alone = np.concatenate([encoder.encode_texts([prompt]) for prompt in PROMPTS])
    np.testing.assert_allclose(encoder.encode_texts(PROMPTS, batch_size), alone, atol=1e-5)


def test_padding_is_seen_by_these_towers_so_it_is_always_whole(encoder):
    ids = encoder._tokenizer(["tree"], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        short = encoder._model.get_text_features(input_ids=ids).pooler_output.numpy()
        full = encoder._model.get_text_features(input_ids=whole(encoder, ["tree"])).pooler_output
    found = encoder.encode_texts(["tree"])
    np.testing.assert_allclose(found, full.numpy(), atol=1e-5)
    assert np.abs(found - short).max() > 1e-3


def test_capitals_are_made_small_as_in_training(encoder):
    pair = encoder.encode_texts(["A Photo of a CAT", "a photo of a cat"])
    np.testing.assert_allclose(pair[0], pair[1], atol=1e-6)


def test_pixels_give_the_features_of_the_picture_and_pass_a_gradient(encoder, pictures):
    for picture in pictures:
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 255
        pixels.requires_grad_()
        features = encoder.encode_pixels(pixels)
        own = torch.from_numpy(encoder.encode_images([picture]))
        assert torch.nn.functional.cosine_similarity(features, own).min() > 0.999
        (gradient,) = torch.autograd.grad(features.sum(), pixels)
        assert gradient.abs().mean() > 0


def test_refuses_a_prompt_that_is_too_long(encoder):
    with pytest.raises(InputError, match=rf"tokens and the text tower {CONTEXT}; shorten it"):
        encoder.encode_texts(["cat " * 40])


def test_a_bundle_tells_it_by_its_configuration(directory, encoder):
    found = load_bundle(f"mini+encoder={directory}").encoder()
    assert found.fingerprint == encoder.fingerprint


def test_refuses_a_vocabulary_that_is_missing(directory, tmp_path):
    copy = shutil.copytree(directory, tmp_path / "copy")
    for name in ("spiece.model", "tokenizer.json"):
        (copy / name).unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match="copy"):
        SiglipEncoder.from_pretrained(copy)


def test_the_score_and_both_tunings_use_the_encoders_own_scale(directory, encoder):
    bundle = load_bundle(f"mini+encoder={directory}")
    recipe = resolve_recipe("paper", bundle.recipe_defaults)
    assert recipe.projection.logit_scale == pytest.approx(encoder.logit_scale)
    assert recipe.negatives.logit_scale == pytest.approx(encoder.logit_scale)
    assert recipe.score.temperature == pytest.approx(1 / encoder.logit_scale)
    assert recipe.select.per_class == 4  # what the bundle says of its other parts stays
    detector = OODDetector.from_classes(["cat", "tree"], bundle, negatives=["river", "lamp"])
    assert detector.settings.temperature == pytest.approx(1 / encoder.logit_scale)


def test_a_scale_of_clip_takes_the_place_of_the_bundles_own():
    for name, scale in [("mini", 37), ("mini+encoder=some/clip+encoder.type=clip", 100)]:
        recipe = resolve_recipe("paper", load_bundle(name).recipe_defaults)
        assert recipe.projection.logit_scale == scale


def test_the_score_is_a_share_of_softmax_mass_in_which_the_bias_cancels(encoder, pictures):
    images = normalise(encoder.encode_images(pictures)).astype(np.float64)
    own, negative = (normalise(encoder.encode_texts(names)) for names in (PROMPTS[:2], PROMPTS[2:]))
    score = neglabel(images @ own.T, images @ negative.T, 1 / encoder.logit_scale, groups=1)
    logits = [
        encoder.logit_scale * images @ texts.T.astype(np.float64) + encoder.logit_bias
        for texts in (own, negative)
    ]
    mass = [np.exp(rows).sum(1) for rows in logits]
    np.testing.assert_allclose(score, mass[0] / (mass[0] + mass[1]), rtol=1e-5)
