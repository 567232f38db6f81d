"""AugMix-style: what a view is, what its loss is, and what the classifier learns from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import entropy

from colour_world import colour_world
from synood.benchmark.systems import _augmix, find_system
from synood.benchmark.systems._augmix import OPERATIONS, augmented
from synood.benchmark.systems.augmix import augmix_loss

pytestmark = pytest.mark.numerical


def picture(seed=0, size=(40, 30)):
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(60, 180, (5, 6, 3), np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


def test_a_view_has_the_images_size_and_depends_on_the_draw():
    image = picture()
    views = [augmented(image, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert all((view.mode, view.size) == ("RGB", (40, 30)) for view in views)
    assert views[0].tobytes() == views[1].tobytes() != views[2].tobytes()
    assert views[0].tobytes() != image.tobytes()


def test_each_operation_changes_the_image_and_keeps_its_size():
    image = picture(1)
    for operation in OPERATIONS:
        found = operation(image, 3.0, np.random.default_rng(0))
        assert (found.mode, found.size) == ("RGB", (40, 30)), operation
        assert found.tobytes() != image.tobytes(), operation


def test_a_view_without_distortions_is_the_image(monkeypatch):
    monkeypatch.setattr(_augmix, "OPERATIONS", (lambda image, level, rng: image,))
    image = picture(2)
    assert augmented(image, np.random.default_rng(3)).tobytes() == image.tobytes()


def test_the_loss_is_cross_entropy_and_twelve_times_the_divergence():
    rng = np.random.default_rng(4)
    views, labels = rng.normal(size=(3, 6, 4)), rng.integers(0, 4, 6)
    shares = np.exp(views) / np.exp(views).sum(axis=2, keepdims=True)
    named = -np.log(shares[0][np.arange(6), labels]).mean()
    middle = shares.mean(axis=0)
    apart = np.mean([entropy(shares[v, i], middle[i]) for v in range(3) for i in range(6)])
    loss = augmix_loss([torch.from_numpy(view) for view in views], torch.from_numpy(labels))
    assert float(loss) == pytest.approx(named + 12 * apart, rel=1e-6)


def test_training_lowers_the_loss_and_names_the_classes(tmp_path):
    inputs, encoded = colour_world(tmp_path)
    fitted = find_system("energy-augmix").fit(inputs, 0)
    assert fitted.chosen["loss"]["last"] < fitted.chosen["loss"]["first"]
    sure = find_system("msp-augmix").fit(inputs, 0)(encoded.test)
    assert sure.min() > 1 / 3
