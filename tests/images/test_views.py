"""Views are the same things, otherwise: same shape, other bytes, the same ones everywhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from synood.errors import InputError
from synood.images.views import LARGEST, view_of

CONTENT = "3f" * 32


def picture(width: int = 40, height: int = 30) -> Image.Image:
    """A red disc off the centre of a blue ground."""
    y, x = np.mgrid[:height, :width]
    inside = (x - 0.4 * width) ** 2 + (y - 0.5 * height) ** 2 < (0.25 * height) ** 2
    pixels = np.where(inside[..., None], (220, 40, 30), (30, 60, 200)).astype(np.uint8)
    return Image.fromarray(pixels)


def test_view_0_is_the_image_itself():
    image = picture()
    assert view_of(image, CONTENT, 0) is image


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 9))
def test_a_view_has_the_shape_of_its_image_however_thin(width, height, number):
    view = view_of(picture(width, height), CONTENT, number)
    assert (view.size, view.mode) == ((width, height), "RGB")


def test_a_view_depends_on_content_and_number_alone():
    first = view_of(picture(), CONTENT, 1).tobytes()
    assert view_of(picture(), CONTENT, 1).tobytes() == first
    assert view_of(picture(), CONTENT, 3).tobytes() != first
    assert view_of(picture(), "40" * 32, 1).tobytes() != first


def test_a_large_photograph_is_made_small_first():
    view = view_of(picture(3 * LARGEST, 2 * LARGEST), CONTENT, 1)
    assert view.size == (LARGEST, round(LARGEST * 2 / 3))


def disc(image: Image.Image) -> np.ndarray:
    """Where the picture is nearer to red than to blue, by the ranks of its own two colours."""
    pixels = np.asarray(image).astype(float).reshape(-1, 3)
    low, high = pixels[0], pixels[np.linalg.norm(pixels - pixels[0], axis=1).argmax()]
    near = np.linalg.norm(pixels - high, axis=1) < np.linalg.norm(pixels - low, axis=1)
    return near.reshape(image.size[1], image.size[0])


def test_even_views_leave_every_thing_in_its_place_and_change_its_colour():
    image = picture(64, 64)
    for number in (2, 4, 6):
        view = view_of(image, CONTENT, number)
        assert (disc(view) == disc(image)).all()
        assert np.abs(np.asarray(view).astype(int) - np.asarray(image)).max() > 10


def test_odd_views_move_the_thing_but_keep_it():
    image = picture(64, 64)
    before = disc(image).sum()
    for number in (1, 3, 5, 7):
        after = disc(view_of(image, CONTENT, number))
        assert (after != disc(image)).any()
        assert 0.5 * before < after.sum() < 3 * before


def test_a_view_below_zero_is_refused():
    with pytest.raises(InputError, match="numbered from 0"):
        view_of(picture(), CONTENT, -1)
