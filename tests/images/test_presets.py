"""Preprocess presets equal the field's own chain, step by step, and the checkpoint's processor."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from synood.errors import InputError
from synood.images.presets import PREPROCESS, Preprocess, from_processor_config

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
CONFIG = {
    "crop_size": 24,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": list(MEAN),
    "image_std": list(STD),
    "resample": 3,
    "size": 24,
}
sides = st.integers(1, 300)


def picture(width, height, seed=0):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def by_hand(image, edge, size, filter_):
    """Resize the shorter side, cut out the middle, divide by 255: torchvision's arithmetic."""
    width, height = image.size
    if width <= height:
        new = (edge, int(edge * height / width))
    else:
        new = (int(edge * width / height), edge)
    image = image.resize(new, filter_)
    left, top = (round((side - size) / 2.0) for side in new)
    array = np.asarray(image.crop((left, top, left + size, top + size)))
    return np.moveaxis(array, 2, 0).astype(np.float32) / 255


CHAINS = {
    "clip": (224, 224, Image.Resampling.BICUBIC),
    "neglabel": (224, 224, Image.Resampling.BILINEAR),
    "openood": (256, 224, Image.Resampling.BICUBIC),
}


@pytest.mark.parametrize("name", sorted(PREPROCESS))
@pytest.mark.parametrize(
    "size",
    [
        (224, 224),
        (500, 375),
        (333, 500),
        (224, 227),
        (227, 224),
        (700, 101),
        (1200, 4),
        (4, 1200),
        (7, 300),
        (199, 2000),
        (2000, 199),
        (600, 5000),
        (1, 90),
        (5000, 600),
    ],
)
def test_presets_equal_the_chain_bit_for_bit(name, size):
    image = picture(*size)
    expected = by_hand(image, *CHAINS[name.removesuffix("-upright")])

    found = PREPROCESS[name].pixels(image)

    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert (found == expected).all()
    normalised = (expected - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))
    applied = PREPROCESS[name].apply(image)
    assert applied.dtype == np.float32
    np.testing.assert_allclose(applied, normalised, rtol=1e-6, atol=1e-6)


def test_no_preset_is_left_out():
    assert set(PREPROCESS) == {*CHAINS, *(f"{name}-upright" for name in CHAINS)}
    assert {name for name, preset in PREPROCESS.items() if preset.plain} == set(CHAINS)
    assert all(preset.name == name for name, preset in PREPROCESS.items())


@settings(max_examples=60)
@given(sides, sides, st.sampled_from(["center", "center_floor", "squash"]))
def test_any_shape_gives_a_square_within_range(width, height, crop):
    steps = Preprocess("any", 16, "bicubic", crop, MEAN, STD, resize=20)

    found = steps.pixels(picture(width, height))

    assert found.shape == (3, 16, 16)
    assert found.min() >= 0
    assert found.max() <= 1


def test_squash_uses_the_whole_image():
    image = picture(60, 20)
    steps = Preprocess("squash", 10, "box", "squash", MEAN, STD)

    expected = np.asarray(image, dtype=float).reshape(10, 2, 10, 6, 3).mean(axis=(1, 3)) / 255

    np.testing.assert_allclose(steps.pixels(image), expected.transpose(2, 0, 1), atol=1 / 255)


@pytest.mark.parametrize("turned", [False, True])
def test_a_strip_takes_no_memory_and_keeps_its_middle(turned):
    strip = np.zeros((2, 40_000, 3), np.uint8)
    strip[:, 19_990:20_010] = 255
    image = Image.fromarray(strip.swapaxes(0, 1) if turned else strip)
    tracemalloc.start()
    found = Preprocess("strip", 224, "bicubic", "center", MEAN, STD).pixels(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (found == 1).all()
    assert peak < 16 * 2**20


def test_other_modes_become_rgb():
    grey = Image.fromarray(np.asarray(picture(30, 30))[:, :, 0])

    found = Preprocess("grey", 30, "bilinear", "center", MEAN, STD).pixels(grey)

    assert (found == np.asarray(grey, dtype=np.float32) / np.float32(255)).all()


CROP = {"height": 24, "width": 24}


@pytest.mark.parametrize("size", [(24, 24), (61, 40), (40, 61), (37, 90), (25, 24), (24, 27)])
@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("CLIP", {}),
        ("CLIP", {"size": {"shortest_edge": 28}, "crop_size": CROP, "resample": 2}),
        ("CLIP", {"size": CROP, "do_center_crop": False}),
        ("CLIP", {"size": CROP}),
        ("CLIP", {"do_normalize": False}),
        ("CLIP", {"rescale_factor": 1 / 127.5}),
        ("DeiT", {"size": {"height": 29, "width": 29}, "crop_size": CROP}),
        (
            "EfficientNet",  # ALIGN's: squashed, cut, then bytes in [-1, 1]
            {"size": {"height": 31, "width": 31}, "crop_size": CROP, "rescale_factor": 1 / 127.5,
             "rescale_offset": True, "do_normalize": False, "include_top": False, "resample": 2},
        ),
        ("EfficientNet", {"size": CROP, "include_top": True}),
        ("ConvNext", {"size": {"shortest_edge": 24}, "crop_pct": 0.875}),
        ("ConvNext", {"size": {"shortest_edge": 384}, "crop_pct": 0.875, "do_center_crop": False}),
    ],
)  # fmt: skip
def test_equals_the_processor_of_transformers(tmp_path, size, kind, changes):
    import transformers

    config = {**CONFIG, **changes}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    processor = getattr(transformers, f"{kind}ImageProcessorPil").from_pretrained(tmp_path)
    image = picture(*size)

    found = from_processor_config(config).apply(image)

    expected = processor(images=image, return_tensors="np")["pixel_values"][0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"do_resize": False}, "do_resize False is not supported"),
        ({"do_pad": True}, "do_pad is not supported"),
        ({"do_flip_channel_order": True}, "do_flip_channel_order is not supported"),
        ({"rescale_factor": -1}, "rescale_factor must be above 0"),
        ({"image_std": [0.5, 0.5]}, "three colours"),
        ({"image_mean": None}, "image_mean"),
        ({"resample": 17}, "17 is not a valid Resampling"),
        ({"size": {"height": 24, "width": 30}, "do_center_crop": False}, "not a square"),
        ({"size": {"longest_edge": 24}}, "needs a shortest_edge"),
        ({"size": 24, "crop_pct": 0.9, "resample": None}, "resample is wrong"),
        ({"size": {"height": 24}, "crop_pct": 0.9}, "needs a shortest_edge"),
        ({"size": 30, "crop_pct": 0.9}, "a second crop, to 24"),
        ({"size": 20_000, "crop_size": 20_000}, "20000 is too large"),
        ({"size": 20}, "cannot cut 24 pixels out of 20"),
    ],
)
def test_a_config_that_is_not_understood_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        from_processor_config({**CONFIG, **changes}, "preprocessor_config.json")


def test_wrong_settings_are_named():
    with pytest.raises(InputError, match="interpolation 'cubic' is not one of nearest"):
        Preprocess("mine", 24, "cubic", "center", MEAN, STD)


@pytest.mark.parametrize("name", sorted(PREPROCESS))
@pytest.mark.parametrize("size", [(640, 480), (333, 901), (224, 224), (30, 50), (2, 1500), (1, 1)])
def test_a_shrunk_image_has_the_same_pixels(name, size):
    steps = PREPROCESS[name]
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    for image in (Image.fromarray(values), Image.fromarray(values[:, :, 0])):
        small = steps.shrunk(image)
        assert small.width * small.height <= image.width * image.height
        np.testing.assert_array_equal(steps.pixels(small), steps.pixels(image))
    squashed = replace(steps, crop="squash", resize=None)
    np.testing.assert_array_equal(squashed.pixels(squashed.shrunk(image)), squashed.pixels(image))
