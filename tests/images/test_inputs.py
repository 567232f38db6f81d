"""What Python passes as images: each form means one thing, and what is none is named."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from synood.errors import InputError
from synood.images.decoding import read_image
from synood.images.inputs import as_image, batches

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def single(images):
    return [as_image(item) for batch in batches(images, 8) for item in batch]


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("grey16.png", Image.fromarray(RAMP.astype(np.uint16) * 257)),
        ("grey.png", Image.fromarray(RAMP)),
        ("palette.png", Image.fromarray(RAMP).convert("P")),
        ("cmyk.tiff", Image.fromarray(np.dstack([RAMP] * 4), "CMYK")),
        ("alpha.png", Image.fromarray(np.dstack([RAMP] * 4), "RGBA")),
    ],
)
def test_an_opened_image_is_what_its_file_is(tmp_path, name, image):
    image.save(tmp_path / name)
    with Image.open(tmp_path / name) as opened:
        (found,) = single(opened)
    assert found.tobytes() == read_image(tmp_path / name).tobytes()
    assert found.mode == "RGB"


def test_an_opened_image_is_refused_as_its_file_is():
    data = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).save(data, "PNG")
    with pytest.raises(InputError, match="opened image: the image is damaged or cut off"):
        single(Image.open(io.BytesIO(data.getvalue()[:400])))
    with pytest.raises(InputError, match="opened image: its numbers have no fixed range"):
        single(Image.new("F", (4, 4)))
    with pytest.raises(InputError, match="opened image: has no pixels"):
        single(Image.new("RGB", (0, 4)))


def test_a_tensor_is_an_array():
    pixels = np.dstack([RAMP] * 3)
    (found,) = single(torch.tensor(pixels))
    assert found.tobytes() == pixels.tobytes()
    assert len(single(torch.tensor(np.stack([pixels] * 2)))) == 2
    with pytest.raises(InputError, match=r"needs uint8 of shape .* not uint8 \(3, 16, 16\)"):
        single(torch.tensor(pixels).permute(2, 0, 1))
    with pytest.raises(InputError, match="needs uint8 of shape"):
        single(torch.zeros(3, 8, 8, requires_grad=True))


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (None, "images: give a path, .* not NoneType"),
        (3, "images: give a path, .* not int"),
        (b"a.png", "images: give a path, .* not bytes"),
        ("", "an empty path"),
        ([""], "an empty path"),
        ([None], "image array: needs uint8"),
        (np.zeros((0, 8, 3), np.uint8), r"not uint8 \(0, 8, 3\)"),
        (np.zeros((8, 8, 4), np.uint8), r"not uint8 \(8, 8, 4\)"),
    ],
)
def test_what_is_no_image_is_named(images, reason):
    with pytest.raises(InputError, match=reason):
        single(images)
