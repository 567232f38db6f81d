"""Photographs are told from drawn images by their neighbouring pixels."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from synood.images.photographs import look_like_photographs
from synood.images.sources import find_images


def noisy(path, seed):
    """A picture as a camera takes it: a gradient with noise in every pixel."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(40, 200, 64)[None, :, None] + rng.normal(0, 6, (48, 64, 3))
    Image.fromarray(ramp.clip(0, 255).astype(np.uint8)).save(path)


def drawn(path, seed):
    """A disc of one colour on another."""
    image = Image.new("RGB", (64, 48), (250, 240, 200))
    ImageDraw.Draw(image).ellipse((10 + seed, 8, 40, 40), fill=(200, 30 + seed, 30))
    image.save(path)


def test_noise_is_a_photograph_and_areas_of_one_colour_are_drawn(tmp_path):
    for name, make in (("photos", noisy), ("drawings", drawn)):
        (tmp_path / name).mkdir()
        for seed in range(12):
            make(tmp_path / name / f"{seed}.png", seed)
    assert look_like_photographs(find_images([tmp_path / "photos"]))
    assert not look_like_photographs(find_images([tmp_path / "drawings"]))


def test_most_of_the_images_decide_and_what_cannot_be_read_does_not(tmp_path):
    for seed in range(9):
        (noisy if seed < 6 else drawn)(tmp_path / f"{seed}.png", seed)
    assert look_like_photographs(find_images([tmp_path]))
    for seed in range(6):
        (tmp_path / f"{seed}.png").write_bytes(b"none")
    assert not look_like_photographs(find_images([tmp_path]))
    for seed in range(9):
        (tmp_path / f"{seed}.png").write_bytes(b"none")
    assert not look_like_photographs(find_images([tmp_path]))


def test_a_picture_one_pixel_wide_has_no_neighbours(tmp_path):
    Image.new("RGB", (1, 9)).save(tmp_path / "thin.png")
    assert not look_like_photographs(find_images([tmp_path]))
