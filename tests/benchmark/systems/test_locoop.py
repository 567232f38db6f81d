"""LoCoOp as its authors train it: crops, the rate of each epoch, the loss of new crops, seeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from colour_world import colour_world
from synood import metrics
from synood.benchmark.systems import _crops, find_system, locoop
from synood.benchmark.systems._crops import random_crop
from synood.benchmark.systems._training import Losses, few_shots

pytestmark = pytest.mark.numerical


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return colour_world(tmp_path_factory.mktemp("colours"))


def gradient(width, height):
    """Red grows to the right and green downwards, so a pixel tells where it is from."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, np.zeros_like(x)], 2).round().astype(np.uint8))


@given(st.integers(20, 200), st.integers(20, 200), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_a_crop_has_an_allowed_area_and_ratio_and_lies_inside(width, height, seed):
    x, y, w, h = _crops._box(width, height, np.random.default_rng(seed))
    assert 0 <= x <= width - w
    assert 0 <= y <= height - h
    slack = 1.5 / min(w, h)  # of rounding
    assert 3 / 4 * (1 - slack) <= w / h <= 4 / 3 * (1 + slack) or min(w, h) < 5
    fits = 3 / 4 <= width / height <= 4 / 3
    if fits:  # else it may be the largest central part, whose area is what it is
        assert 0.08 * (1 - 3 * slack) <= w * h / (width * height) <= 1


def test_what_never_fits_is_the_largest_central_part():
    assert _crops._box(400, 3, np.random.default_rng(0)) == (198, 0, 4, 3)
    assert _crops._box(3, 400, np.random.default_rng(0)) == (0, 198, 3, 4)


def test_half_of_the_crops_are_mirrored_and_all_have_the_size_asked_for():
    image, mirrored = gradient(64, 48), 0
    for seed in range(200):
        crop = np.asarray(random_crop(image, 16, np.random.default_rng(seed)), np.int64)
        assert crop.shape == (16, 16, 3)
        assert (crop[-1, :, 1] > crop[0, :, 1]).all()  # never upside down
        mirrored += crop[0, 0, 0] > crop[0, -1, 0]
    assert 70 < mirrored < 130


def test_the_rate_is_that_of_a_warm_up_before_torchs_cosine():
    """Dassl's ConstantWarmupScheduler: the cosine takes its first step after the second epoch."""
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2e-3)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 50.0)
    expected = [1e-5]
    for _ in range(1, 50):
        expected.append(cosine.get_last_lr()[0])
        optimiser.step()
        cosine.step()
    np.testing.assert_allclose([locoop.rate_of(e) for e in range(50)], expected, rtol=1e-9)


def test_the_loss_is_that_of_the_crops_and_their_places(world, monkeypatch):
    """A straight-line twin on whole images: cropping is switched off."""
    monkeypatch.setattr(locoop, "random_crop", lambda image, side, rng: image)
    inputs, _ = world
    batch = inputs.train.take(np.arange(0, 60, 7))
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(3, 4))
    names = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    scale, expected, entropies = 10.0, [], []

    def shares(feature):
        powers = np.exp(scale * names @ (feature / np.linalg.norm(feature)))
        return powers / powers.sum()

    (images,) = batch.require_images().batches()
    for image, label in zip(images, batch.labels, strict=True):
        expected.append(-np.log(shares(inputs.encoder.encode_images([image])[0])[label]))
        for place in inputs.encoder.encode_image_patches([image])[0]:
            p = shares(place)
            if p.argmax() != label:
                entropies.append(-(p * np.log(p + 1e-5)).sum())
    assert entropies
    loss = locoop._loss(inputs, batch, torch.from_numpy(names.astype("f4")), rng)
    assert float(loss) == pytest.approx(np.mean(expected) - 0.25 * np.mean(entropies), rel=1e-4)


def test_it_takes_full_batches_of_crops_for_fifty_epochs(world, monkeypatch):
    inputs, encoded = world
    seen = []
    original = locoop._loss

    def loss(inputs, batch, names, rng):
        seen.append([path.name for path in batch.require_images().paths])
        return original(inputs, batch, names, rng)

    monkeypatch.setattr(locoop, "_loss", loss)
    fitted = find_system("locoop").fit(inputs, 0)
    assert len(seen) == 50  # 48 shots: one batch of 32 in each epoch, the rest of 16 is left out
    assert {len(names) for names in seen} == {32}
    assert len({tuple(sorted(names)) for names in seen}) > 40  # another 32 in each
    assert fitted.added_parameters == 16 * 4
    assert metrics.auroc(fitted(encoded.test), fitted(encoded.test_ood[0])) > 0.9


def test_training_lowers_the_loss_of_the_whole_images(world, monkeypatch):
    monkeypatch.setattr(locoop, "RATE", 0.5)
    monkeypatch.setattr(locoop, "EPOCHS", 10)
    inputs, _ = world
    _, _, shots = few_shots(inputs.train, 0)
    losses = Losses()
    names, _ = locoop.learn_contexts(inputs, shots, 0, losses)
    assert len(losses.values) == 10
    assert losses.values[-1] < losses.values[0]
    np.testing.assert_allclose(np.linalg.norm(names, axis=1), 1, rtol=1e-5)
    other, _ = locoop.learn_contexts(inputs, shots, 1, Losses())
    again, _ = locoop.learn_contexts(inputs, shots, 0, Losses())
    assert names.tobytes() == again.tobytes() != other.tobytes()
