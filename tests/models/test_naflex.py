"""SigLIP 2 NaFlex: patches and masks of images of any shape, against transformers' processor."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from synood.errors import CheckpointError, InputError
from synood.models.bundles import load_bundle
from synood.models.naflex import NaFlexEncoder, Patches
from synood.models.presets import with_preset
from tiny_families import tiny_family

pytestmark = pytest.mark.numerical

COLOURS = ((0.5, 0.4, 0.6), (0.5, 0.3, 0.4))


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tiny_family(tmp_path_factory.mktemp("naflex"), "siglip2")


@pytest.fixture(scope="module")
def encoder(directory):
    return NaFlexEncoder.from_pretrained(directory)


def picture(width, height, seed=0):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def by_library(image, patch_size, most, resample=2):
    from transformers import Siglip2ImageProcessorPil

    processor = Siglip2ImageProcessorPil(
        patch_size=patch_size,
        max_num_patches=most,
        resample=resample,
        image_mean=list(COLOURS[0]),
        image_std=list(COLOURS[1]),
    )
    found = processor(image, return_tensors="np")
    return [found[key][0] for key in ("pixel_values", "pixel_attention_mask", "spatial_shapes")]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 400),
    st.integers(1, 400),
    st.sampled_from([4, 8, 14, 16]),
    st.integers(1, 300),
)
def test_the_grid_is_that_of_the_authors_search(height, width, patch_size, most):
    from transformers.models.siglip2.image_processing_pil_siglip2 import (
        get_image_size_for_max_num_patches,
    )

    expected = get_image_size_for_max_num_patches(height, width, patch_size, most)
    rows, columns = Patches(patch_size, most, "bilinear", *COLOURS).grid(height, width)
    assert (rows * patch_size, columns * patch_size) == expected
    assert 1 <= rows * columns <= max(most, 1)


@pytest.mark.parametrize(
    "size", [(32, 32), (61, 40), (40, 161), (500, 30), (1, 1), (3, 900), (2000, 1)]
)
@pytest.mark.parametrize(("patch_size", "most", "resample"), [(8, 20, 2), (16, 64, 3)])
def test_patches_and_mask_are_those_of_transformers(size, patch_size, most, resample):
    image = picture(*size)
    patches, mask, shape = by_library(image, patch_size, most, resample)
    filter_ = Image.Resampling(resample).name.lower()
    found, grid = Patches(patch_size, most, filter_, *COLOURS).apply(image)
    assert grid == tuple(shape)
    assert len(found) == mask.sum() == grid[0] * grid[1]
    np.testing.assert_allclose(found, patches[: len(found)], rtol=0, atol=1e-5)


def test_images_of_many_shapes_share_a_batch_and_do_not_see_each_other(encoder):
    images = [picture(*size, seed) for seed, size in enumerate([(32, 32), (90, 20), (9, 99)])]
    together = encoder.encode_images(images)
    for row, image in enumerate(images):
        np.testing.assert_allclose(encoder.encode_images([image])[0], together[row], atol=1e-5)
    np.testing.assert_allclose(encoder.encode_images(images, 2), together, atol=1e-5)


def test_the_padding_of_a_small_grid_is_masked(encoder, directory):
    """A strip has few patches; more room for padding must not change its feature."""
    strip = picture(9, 200)
    roomy = NaFlexEncoder.from_pretrained(directory)
    patches, grid = encoder._patches.apply(strip)
    padded = torch.full((1, 50, patches.shape[1]), 7.0)
    padded[0, : len(patches)] = torch.from_numpy(patches)
    with torch.no_grad():
        found = roomy._embedded(padded, [grid]).numpy()
    np.testing.assert_allclose(found, encoder.encode_images([strip]), atol=1e-5)


def test_shape_is_kept_where_a_square_tower_would_squash(encoder):
    wide = Image.effect_noise((120, 40), 90).convert("RGB")
    squashed = wide.resize((32, 32), Image.Resampling.BILINEAR)
    assert encoder._patches.grid(40, 120) == (2, 6)
    assert np.abs(encoder.encode_images([wide]) - encoder.encode_images([squashed])).max() > 1e-4


def test_more_patches_are_an_option_of_the_bundle(directory, encoder):
    more = load_bundle(f"mini+encoder={directory}+encoder.max_num_patches=64").encoder()
    assert more.image_size == 64 > encoder.image_size == 32
    assert more.fingerprint != encoder.fingerprint
    image = picture(100, 100)
    assert not np.allclose(more.encode_images([image]), encoder.encode_images([image]))
    for wrong in ("0", "many", "99999", "2.5"):
        with pytest.raises(InputError, match="max_num_patches must be from 1 to 16,384"):
            load_bundle(f"mini+encoder={directory}+encoder.max_num_patches={wrong}").encoder()


def test_an_option_that_another_encoder_has_not_is_refused(tmp_path):
    other = tiny_family(tmp_path / "tips", "tipsv2")
    with pytest.raises(InputError, match=r"takes no 'max_num_patches', only revision, dtype"):
        load_bundle(f"mini+encoder={other}+encoder.max_num_patches=64").encoder()


def test_patches_of_another_size_than_the_towers_are_refused(directory, tmp_path):
    copy = shutil.copytree(directory, tmp_path / "copy")
    path = copy / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "patch_size": 16}))
    with pytest.raises(
        CheckpointError, match="cuts patches of 16 pixels and the image tower takes 8"
    ):
        NaFlexEncoder.from_pretrained(copy)


def test_a_preset_has_no_place(encoder):
    with pytest.raises(InputError, match="its preprocessing cannot be replaced"):
        with_preset(encoder, "clip")


def test_a_processor_that_is_wrong_is_named(directory, tmp_path):
    copy = shutil.copytree(directory, tmp_path / "copy")
    path = copy / "preprocessor_config.json"
    config = json.loads(path.read_text())
    for change in ({"patch_size": "x"}, {"image_mean": 3}, {"resample": 77}):
        path.write_text(json.dumps({**config, **change}))
        with pytest.raises(
            InputError, match=r"copy: image_mean, image_std, patch_size or resample"
        ):
            NaFlexEncoder.from_pretrained(copy)
