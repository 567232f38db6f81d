"""Things with the name of a picture that are none: nothing hangs, each is told by its name."""

from __future__ import annotations

import os
import socket

import numpy as np
import pytest
from PIL import Image

from synood import InputError
from synood.files import sha256_file
from synood.images import decoding
from synood.images.decoding import image_bytes, image_size, read_image
from synood.images.sources import find_images, folder_per_class

READERS = (read_image, image_size, image_bytes)


def photo(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


@pytest.mark.parametrize("read", READERS)
def test_pipes_sockets_devices_and_folders_are_refused_without_waiting(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    (tmp_path / "folder.jpg").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(tmp_path / "socket.jpg"))
        for name in ("pipe.jpg", "device.jpg", "folder.jpg", "socket.jpg"):
            with pytest.raises(InputError, match=rf"{name}: cannot be read \("):
                read(tmp_path / name)


def test_a_file_beyond_the_limit_is_not_read(tmp_path, monkeypatch):
    path = photo(tmp_path / "a.png")
    monkeypatch.setattr(decoding, "MAX_BYTES", path.stat().st_size)
    assert read_image(path).size == (8, 8)
    monkeypatch.setattr(decoding, "MAX_BYTES", path.stat().st_size - 1)
    for read in READERS:
        with pytest.raises(InputError, match="bytes, more than"):
            read(path)


def test_other_bytes_than_expected_are_told(tmp_path):
    path = photo(tmp_path / "a.png")
    digest = sha256_file(path)
    assert read_image(path, digest).size == (8, 8)
    Image.new("RGB", (8, 8)).save(path)
    with pytest.raises(InputError, match=r"a\.png: its content has changed"):
        read_image(path, digest)


def test_listings_hold_them_so_that_none_goes_missing_without_a_word(tmp_path):
    photo(tmp_path / "cat/a.png")
    os.mkfifo(tmp_path / "cat/pipe.jpg")
    photo(tmp_path / "cat/folder.jpg/inside.png")
    names = ["a.png", "folder.jpg/inside.png", "pipe.jpg"]

    assert [record.id for record in find_images([tmp_path / "cat"]).records] == names
    found = folder_per_class(tmp_path).records
    assert [record.id for record in found] == [f"cat/{name}" for name in names]
