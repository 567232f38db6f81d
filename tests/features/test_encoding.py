"""A feature has the same bytes whatever goes through the network beside it, on any threads."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from synood import OODDetector
from synood.features.ahead import ahead, threads
from synood.features.encoding import TOGETHER, encoded
from synood.features.unreadable import Unreadable
from synood.images import decoding
from synood.images._quiet import pillow_quiet

pytestmark = pytest.mark.numerical


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)) for _ in range(11)]


class Recording:
    """An encoder that notes who called it with how many images."""

    def __init__(self, together=None):
        self.calls = []
        if together:
            self.together = together

    def encode_images(self, images, batch_size=TOGETHER):
        self.calls.append((threading.current_thread().name, torch.get_num_threads(), len(images)))
        return np.array([np.asarray(image).mean((0, 1)) for image in images], np.float32)


@pytest.mark.usefixtures("two_threads")
def test_a_feature_does_not_depend_on_the_threads(bundle, pictures):
    detector = OODDetector.from_classes(["cat", "dog"], bundle, negatives=["rope"])
    two = detector.embed(pictures)
    torch.set_num_threads(1)
    np.testing.assert_array_equal(detector.embed(pictures), two)
    torch.set_num_threads(3)
    np.testing.assert_array_equal(detector.embed(pictures[::-1])[::-1], two)
    np.testing.assert_array_equal(detector.embed([pictures[4]])[0], two[4])


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("name", ["mini", "photo"])
def test_an_embedded_encoder_takes_no_notice_of_its_other_images(name, pictures):
    detector = OODDetector.from_classes(["cat", "dog"], name, negatives=["rope"])
    together = detector.embed(pictures)
    for row in (0, 4, 10):
        np.testing.assert_array_equal(detector.embed([pictures[row]])[0], together[row])
    torch.set_num_threads(1)
    np.testing.assert_array_equal(detector.embed(pictures[:3]), together[:3])


@pytest.mark.usefixtures("two_threads")
def test_who_encodes_how_many_images_on_how_many_threads(pictures):
    encoder = Recording(together=4)
    rows = [*encoded(lambda: encoder, pictures, "cpu")]
    assert [size for *_, size in encoder.calls] == [4, 4, 4]  # the last is padded
    assert {count for _, count, _ in encoder.calls} == {1}
    assert all(name.startswith("synood-encode") for name, *_ in encoder.calls)
    np.testing.assert_allclose(rows, [np.asarray(one).mean((0, 1)) for one in pictures], rtol=1e-6)
    assert torch.get_num_threads() == 2
    seen = []
    later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert seen == [2]  # a thread that begins afterwards is as it would have been

    for encoder, device in ((Recording(), "cpu"), (Recording(together=1), "cuda:1")):
        assert len([*encoded(lambda one=encoder: one, pictures, device)]) == len(pictures)
        assert encoder.calls == [("MainThread", 2, TOGETHER)]


def test_without_a_readable_image_no_encoder_is_loaded():
    bad = [Unreadable("gone"), Unreadable("cut off")]
    assert [*encoded(lambda: pytest.fail("loaded"), bad, "cpu")] == bad
    assert [*encoded(lambda: pytest.fail("loaded"), [], "cpu")] == []


@pytest.mark.usefixtures("two_threads")
def test_an_unreadable_image_stays_in_its_place(pictures):
    mixed = [Unreadable("a"), *pictures[:2], Unreadable("b"), *pictures[2:4], Unreadable("c")]
    rows = [*encoded(lambda: Recording(together=2), mixed, "cpu")]
    assert [isinstance(row, Unreadable) and row.reason for row in rows] == [
        "a", False, False, "b", False, False, "c",
    ]  # fmt: skip


def test_what_fails_ahead_is_raised_where_it_is_due():
    def work(number):
        if number == 2:
            raise ValueError("two")
        return number

    with threads(2) as pool:
        results = ahead(work, range(5), pool, 3)
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(ValueError, match="two"):
            next(results)


def test_ahead_takes_no_more_items_than_it_may():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    with threads(2) as pool:
        results = ahead(lambda number: number, items(), pool, 3)
        for expected in range(10):
            assert next(results) == expected
            assert len(taken) <= expected + 4


def test_threads_that_decode_leave_the_filters_of_warnings_as_they_were(tmp_path):
    before = list(warnings.filters)
    first, second = pillow_quiet(), pillow_quiet()
    first.__enter__()
    second.__enter__()
    warnings.warn_explicit("odd metadata", UserWarning, "Image.py", 1, module="PIL.Image")
    with pytest.warns(UserWarning, match="ours"):
        warnings.warn("ours", UserWarning, stacklevel=1)
    first.__exit__(None, None, None)  # in the order in which they came, as threads may
    warnings.warn_explicit("odd metadata", UserWarning, "Image.py", 1, module="PIL.Image")
    second.__exit__(None, None, None)
    assert list(warnings.filters) == before

    path = tmp_path / "picture.png"
    Image.new("RGB", (200, 200), "red").save(path)
    with threads(8) as pool:
        assert all(pool.map(lambda _: decoding.read_image(path).size == (200, 200), range(200)))
    assert list(warnings.filters) == before
