"""Warnings about training images: each kind is found and named, and a sound folder has none."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from synood.images import checks
from synood.images.checks import dataset_warnings, repeats, unclassed_warnings
from synood.images.sources import folder_per_class

rng = np.random.default_rng(0)


def bmp(path, seed):
    """Files of one size, whatever they show."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path):
    for number, name in enumerate(f"{label}/{i}.bmp" for label in ("cat", "dog") for i in range(3)):
        bmp(tmp_path / name, number)
    return tmp_path


def test_a_sound_folder_has_no_warning(root):
    assert dataset_warnings(folder_per_class(root)) == []


def test_a_class_with_one_image(root):
    bmp(root / "bee/0.bmp", 99)
    (warning,) = dataset_warnings(folder_per_class(root))
    assert warning == "class 'bee': only one image; add more"
    bmp(root / "ant/0.bmp", 98)
    (warning,) = dataset_warnings(folder_per_class(root))
    assert warning == "classes 'ant', 'bee': only one image each; add more"


def test_an_image_in_two_classes_and_one_several_times(root):
    bmp(root / "dog/copy.bmp", 0)
    bmp(root / "cat/copy.bmp", 1)
    bmp(root / "cat/again.bmp", 1)

    across, within = dataset_warnings(folder_per_class(root))

    assert (
        across
        == "one image is in two classes, such as cat/0.bmp and dog/copy.bmp; keep each in one"
    )
    assert within == (
        "one image is several times within a class (2 copies), such as cat/1.bmp and "
        "cat/again.bmp; remove the copies"
    )


def test_an_image_in_two_classes_is_shown_in_both(root):
    bmp(root / "cat/copy.bmp", 0)
    bmp(root / "dog/copy.bmp", 0)
    (across,) = dataset_warnings(folder_per_class(root))
    assert "such as cat/0.bmp and dog/copy.bmp;" in across


def test_images_beside_the_class_folders_are_named(root):
    assert unclassed_warnings(root) == []
    (root / "notes.txt").write_text("of the classes")
    bmp(root / "b.bmp", 0)
    (root / "b.bmp").rename(root / "IMG_1")
    (one,) = unclassed_warnings(root)
    assert one == (
        "1 image in no class folder is left out (IMG_1); move it to the folder of a class"
    )
    bmp(root / "a.bmp", 1)
    (two,) = unclassed_warnings(root)
    assert two.startswith("2 images in no class folder are left out (IMG_1, a.bmp); move them")


def test_odd_names_of_classes(tmp_path):
    for number, name in enumerate(("train", "val")):
        for i in range(2):
            bmp(tmp_path / name / f"{i}.bmp", 10 * number + i)
    (warning,) = dataset_warnings(folder_per_class(tmp_path))
    assert "'train', 'val': parts of a dataset?" in warning


def test_files_that_differ_in_their_middle_alone_are_two(tmp_path):
    data = bytearray(rng.bytes(20_000))
    for name in ("cat/0.jpg", "cat/1.jpg", "cat/2.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
        data[10_000] ^= name == "cat/1.jpg"
    (group,) = repeats(folder_per_class(tmp_path).records)
    assert [record.id for record in group] == ["cat/0.jpg", "cat/1.jpg"]


def test_only_files_of_one_size_and_equal_ends_are_read_whole(root, monkeypatch):
    read = []
    monkeypatch.setattr(checks, "sha256_file", lambda path: read.append(path) or path)
    bmp(root / "dog/copy.bmp", 0)
    Image.new("RGB", (3, 3)).save(root / "cat/small.bmp")

    repeats(folder_per_class(root).records)
    assert sorted(read) == [root / "cat/0.bmp", root / "dog/copy.bmp"]


def test_what_cannot_be_read_stops_nothing(root):
    os.mkfifo(root / "cat/pipe.jpg")
    (root / "cat/gone.jpg").symlink_to(root / "nowhere")
    (root / "cat/empty.jpg").touch()
    (root / "cat/zero.jpg").symlink_to("/dev/zero")
    assert dataset_warnings(folder_per_class(root)) == []


def test_images_at_urls_are_not_fetched_to_compare_them(root):
    bmp(root / "cat/copy.bmp", 0)
    system = fsspec.filesystem("memory")
    system.put(f"{root}/", "/checks/", recursive=True)
    try:
        assert dataset_warnings(folder_per_class(Path("memory://checks"))) == []
    finally:
        system.rm("/checks", recursive=True)


def test_a_large_index_is_not_compared(root, monkeypatch):
    bmp(root / "cat/copy.bmp", 0)
    monkeypatch.setattr(checks, "MOST", 7)
    assert len(dataset_warnings(folder_per_class(root))) == 1
    monkeypatch.setattr(checks, "MOST", 6)
    assert dataset_warnings(folder_per_class(root)) == []
