"""The most complex images of each class come first, by numbers and not by text."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from synood.errors import InputError
from synood.images._headers import HEAD, size_in_head
from synood.images.decoding import image_size
from synood.images.selection import bytes_per_pixel, measure_ratios, select_complex
from synood.images.sources import find_images, folder_per_class
from synood.pipeline.rundir.ratios import kept_ratios, listing_fingerprint
from synood.pipeline.rundir.workspace import open_run


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


@settings(max_examples=25)
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


@settings(max_examples=30)
@given(
    st.integers(1, 900),
    st.integers(1, 900),
    st.sampled_from(["a.png", "a.jpg", "progressive.jpg", "exif.jpg", "grey.jpg", "a.webp"]),
)
def test_a_size_out_of_the_first_bytes_is_the_decoder_s(tmp_path_factory, width, height, name):
    path = tmp_path_factory.mktemp("one") / name
    image = Image.new("L" if name.startswith("grey") else "RGB", (width, height))
    extra = {"progressive": True} if name.startswith("progressive") else {}
    if name.startswith("exif"):
        exif = Image.Exif()
        exif[0x0112] = 6  # the size as stored counts, not as it is to be turned
        exif[0x010E] = "x" * 1500
        extra = {"exif": exif.tobytes()}
    image.save(path, **extra)

    found = size_in_head(path.read_bytes()[:HEAD])

    assert found == (None if name.endswith("webp") else image_size(path))


@given(st.binary(max_size=60))
def test_any_first_bytes_give_a_size_or_nothing(data):
    for start in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"):
        found = size_in_head(start + data)
        assert found is None or min(found) >= 1


def test_ratios_are_measured_in_the_index_s_order_and_broken_files_named(tmp_path):
    folder = tmp_path / "bee"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(600):  # more than one thread's share
        kind = ("png", "jpg", "bmp")[number % 3]
        size = rng.integers(1, 30, 2)
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(
            folder / f"{number:03}.{kind}"
        )
    (folder / "300.png").write_bytes(b"no image")
    index = folder_per_class(tmp_path)

    ratios = measure_ratios(index, threads=4)

    row = next(i for i, record in enumerate(index.records) if record.path.name == "300.png")
    assert list(ratios.unreadable) == [row]
    assert "300.png: not an image" in ratios.unreadable[row]
    for place, record in enumerate(index.records):
        expected = np.nan if place == row else bytes_per_pixel(record.path)
        assert ratios.values[place] == pytest.approx(expected, nan_ok=True, rel=0)


def test_known_ratios_are_taken_and_broken_images_passed_over(tmp_path):
    for name in ("a/1", "a/2", "a/3", "b/1"):
        bitmap(tmp_path / f"{name}.ppm", 2, 100)
    index = folder_per_class(tmp_path)

    chosen = select_complex(index, 2, np.array([1.0, np.nan, 3.0, 2.0]))

    assert [item.record.id for item in chosen] == ["a/3.ppm", "a/1.ppm", "b/1.ppm"]
    assert [item.bytes_per_pixel for item in chosen] == [3.0, 1.0, 2.0]


def test_the_ratios_of_many_images_are_kept_in_the_run(tmp_path, monkeypatch):
    for name in ("a/1", "a/2", "b/1"):
        bitmap(tmp_path / f"set/{name}.ppm", 2, 100)
    index = folder_per_class(tmp_path / "set")
    monkeypatch.setattr("synood.pipeline.rundir.ratios.MANY", 2)
    with open_run(tmp_path / "run") as workspace:
        first = kept_ratios(workspace, index, listing_fingerprint(index))

        def refuse(*_):
            raise AssertionError("the headers were read again")

        with monkeypatch.context() as patch:
            patch.setattr("synood.pipeline.rundir.ratios.measure_ratios", refuse)
            again = kept_ratios(workspace, index, listing_fingerprint(index))
            assert np.array_equal(again.values, first.values)
            bitmap(tmp_path / "set/b/1.ppm", 2, 200)
            with pytest.raises(AssertionError, match="read again"):
                kept_ratios(workspace, index, listing_fingerprint(index))
        (tmp_path / "run/ratios.safetensors").write_bytes(b"damaged")
        assert kept_ratios(workspace, index, listing_fingerprint(index)).values[2] == 50.0
