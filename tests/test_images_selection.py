"""The most complex images of each class come first, by numbers and not by text."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from synood.errors import InputError
from synood.images.selection import bytes_per_pixel, select_complex
from synood.images.sources import find_images, folder_per_class


def bitmap(path, size, weight):
    """A PPM image of `size` pixels to the side, padded so that the file holds `weight` bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header, pixels = b"P6 %d %d 255\n" % (size, size), bytes(3 * size * size)
    data = header + pixels
    assert weight >= len(data)
    path.write_bytes(data + bytes(weight - len(data)))


def test_bytes_per_pixel_is_file_size_over_pixels(tmp_path):
    bitmap(tmp_path / "a.ppm", 10, 1234)

    assert bytes_per_pixel(tmp_path / "a.ppm") == 12.34


def test_detail_ranks_above_flat_colour(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    (tmp_path / "bee").mkdir()
    Image.fromarray(noise).save(tmp_path / "bee/b.jpg")
    Image.new("RGB", (64, 64), "red").save(tmp_path / "bee/a.jpg")

    chosen = select_complex(folder_per_class(tmp_path), 2)

    assert [item.record.id for item in chosen] == ["bee/b.jpg", "bee/a.jpg"]


def test_ratios_are_compared_as_numbers(tmp_path):
    # As text "100.0" < "20.0" < "9.0"; the authors' code would choose the last.
    for name, weight in (("nine", 900), ("hundred", 10_000), ("twenty", 2000)):
        bitmap(tmp_path / f"bee/{name}.ppm", 10, weight)

    chosen = select_complex(folder_per_class(tmp_path), 3)

    assert [item.bytes_per_pixel for item in chosen] == [100.0, 20.0, 9.0]


def test_classes_keep_their_order_and_a_small_one_gives_all(tmp_path):
    for name in ("ant/1", "ant/2", "bee/1", "cat/1", "cat/2", "cat/3"):
        bitmap(tmp_path / f"{name}.ppm", 2, 100)

    index = folder_per_class(tmp_path, ["zebra", "bee", "ant"])

    # All ratios are equal, so ids decide within a class.
    assert [item.record.id for item in select_complex(index, 2)] == [
        "ant/1.ppm",
        "ant/2.ppm",
        "bee/1.ppm",
        "cat/1.ppm",
        "cat/2.ppm",
    ]


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from("ab"), st.integers(0, 30)),
        st.tuples(st.integers(1, 4), st.sampled_from([100, 225, 400, 900])),
        min_size=1,
    ),
    st.integers(1, 6),
)
def test_equals_a_sort_of_exact_fractions(tmp_path_factory, files, per_class):
    root = tmp_path_factory.mktemp("set")
    for (folder, name), (size, weight) in files.items():
        bitmap(root / folder / f"{name:02}.ppm", size, weight)

    chosen = select_complex(folder_per_class(root), per_class)

    expected = []
    for label in "ab":
        own = [
            (-Fraction(weight, size * size), f"{folder}/{name:02}.ppm")
            for (folder, name), (size, weight) in files.items()
            if folder == label
        ]
        expected += sorted(own)[:per_class]
    assert [item.record.id for item in chosen] == [name for _, name in expected]
    assert [-item.bytes_per_pixel for item in chosen] == [float(ratio) for ratio, _ in expected]


def test_the_pixels_are_not_decoded(tmp_path):
    (tmp_path / "bee").mkdir()
    path = tmp_path / "bee/half.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 9, (50, 40, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:500])

    (chosen,) = select_complex(folder_per_class(tmp_path), 1)

    assert chosen.bytes_per_pixel == 500 / 2000


def test_what_cannot_be_ranked_is_named(tmp_path):
    bitmap(tmp_path / "bee/1.ppm", 2, 100)
    (tmp_path / "bee/empty.jpg").touch()

    with pytest.raises(InputError, match=r"empty\.jpg: the file is empty"):
        select_complex(folder_per_class(tmp_path), 1)
    with pytest.raises(InputError, match=r"1\.ppm: has no class"):
        select_complex(find_images([tmp_path / "bee/1.ppm"]), 1)
    with pytest.raises(InputError, match="per_class is 0; it must be at least 1"):
        select_complex(folder_per_class(tmp_path), 0)
