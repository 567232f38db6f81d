"""Encoding and a whole run on a device, and what is told of its memory."""

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from small_run import make_pictures, run
from synood import OODDetector
from synood.features.extractor import FeatureExtractor
from synood.files import read_jsonl
from synood.models.bundles import load_bundle
from synood.models.clip import ClipEncoder
from synood.models.device import pick_device
from synood.models.memory import peak_memory, reset_peak, total_memory
from synood.models.precision import chosen_dtype

pytestmark = [pytest.mark.device, pytest.mark.numerical]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    root = make_pictures(tmp_path_factory.mktemp("data") / "images", count=7)
    return sorted(root.rglob("*.png"))  # 21: a batch of an accelerator's and a padded one


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return tiny.tiny_clip(tmp_path_factory.mktemp("clip"))


def features(clip, device, paths):
    encoder = ClipEncoder.from_pretrained(clip, device)
    return np.stack(FeatureExtractor(encoder.fingerprint, lambda: encoder, device).extract(paths))


def test_features_are_the_processors_and_alone_the_same_bytes(clip, paths, device):
    found = features(clip, device, paths)
    np.testing.assert_allclose(found, features(clip, "cpu", paths), rtol=1e-3, atol=1e-4)
    for place in (0, 15, 16, 20):
        assert np.array_equal(features(clip, device, [paths[place]])[0], found[place])


def test_texts_and_pixels_are_encoded_as_on_the_processor(clip, device):
    prompts = ["a photo of a cat", "a nice dog", "this is a tree"]
    pixels = torch.rand(3, 3, 40, 32, generator=torch.Generator().manual_seed(0))
    ours, theirs = (ClipEncoder.from_pretrained(clip, where) for where in (device, "cpu"))
    np.testing.assert_allclose(
        ours.encode_texts(prompts), theirs.encode_texts(prompts), rtol=1e-3, atol=1e-4
    )
    with torch.no_grad():
        found, expected = ours.encode_pixels(pixels), theirs.encode_pixels(pixels)
    assert found.device.type == device
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["mini", "photo"])
def test_the_embedded_encoders_give_the_processors_features(name, device, paths):
    ours, theirs = (load_bundle(name).encoder(where) for where in (device, "cpu"))
    opened = [Image.open(path).convert("RGB") for path in paths[:2]]
    prompts = ["a photo of a cat", "a river"]
    for found, expected in (
        (ours.encode_images(opened), theirs.encode_images(opened)),
        (ours.encode_texts(prompts), theirs.encode_texts(prompts)),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-3)


def test_a_run_tunes_on_what_the_device_has_painted_and_encoded(bundle, images, device, tmp_path):
    """Its detector gives the same scores wherever it is loaded."""
    run(images, bundle, tmp_path / "out", device=device, batch_size="auto")
    (cost,) = [row for row in read_jsonl(tmp_path / "out" / "events.jsonl") if "dtype" in row]
    assert cost["device"].partition(":")[0] == device
    assert cost["images"] == 6
    assert cost["peak_memory_bytes"] > 0
    assert cost["dtype"] == str(chosen_dtype("auto", device)).removeprefix("torch.")
    paths = sorted(images.rglob("*.png"))
    place = tmp_path / "out" / "detector"
    here, there = (
        OODDetector.from_pretrained(place, device=where).score(paths) for where in (device, "cpu")
    )
    assert np.isfinite(here).all()
    np.testing.assert_allclose(here, there, rtol=1e-2, atol=1e-2)


def test_memory_is_told_and_its_peak_begins_anew(device):
    size = 64_000_000
    reset_peak(device)
    before = peak_memory(device)
    held = torch.zeros(before + size if device == "cpu" else size, dtype=torch.uint8, device=device)
    assert peak_memory(device) >= before + (0 if device == "cpu" else size)
    assert peak_memory(device) <= total_memory(device)
    del held
    reset_peak(device)
    if device != "cpu":  # the operating system's note of a process stays
        assert peak_memory(device) < before + size


def test_auto_takes_the_accelerator_where_there_is_one(device):
    assert pick_device(device) == device
    expected = "cpu" if not torch.accelerator.is_available() else device
    if device != "cpu" or expected == "cpu":
        assert pick_device("auto") == expected
