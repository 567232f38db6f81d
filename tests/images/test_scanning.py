"""What is an image in a folder: by content where the name does not say, nothing silently passed."""

from __future__ import annotations

import io
import os

import fsspec
import pytest
from PIL import Image

from synood.images import scanning
from synood.images.kinds import READ, SUFFIXES, kind_of
from synood.images.scanning import class_folders, is_clutter
from synood.images.sources import find_images, folder_per_class


def encoded(kind):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, kind)
    return buffer.getvalue()


FILES = {kind: encoded(kind) for kind in READ}
NO_IMAGES = {
    "notes.txt": b"BM is how this text begins, and not as a bitmap\n",
    "P1.md": b"P1 of the parliament, 10 seats\n",
    "names.json": b'{"0": "cat"}',
    "labels.csv": b"path,label\na.png,0\n",
    "desktop.ini": b"[.ShellClassInfo]\r\n",
    "Thumbs.db": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500),
    "film.mp4": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(100),
    "paper.pdf": b"%PDF-1.7\n",
    "weights.npy": b"\x93NUMPY\x01\0" + bytes(100),
    "sound.wav": b"RIFF\x24\0\0\0WAVEfmt " + bytes(100),
    "_SUCCESS": b"",
    ".DS_Store": b"\0\0\0\x01Bud1" + bytes(100),
    "._a.jpg": FILES["JPEG"],
    "a.jpg@SynoEAStream": FILES["JPEG"],
}
CLUTTER = ("@eaDir", ".thumbnails", "__MACOSX", "#recycle", ".Trash-1000", "$RECYCLE.BIN",
           "lost+found", "System Volume Information", "@Recycle", "@SynoResource",
           "~snapshot")  # fmt: skip


def ids(index):
    return [record.id for record in index.records]


def fill(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_an_image_is_one_whatever_its_name(tmp_path):
    names = [f"{number}{suffix}" for number, suffix in enumerate(
        ("", ".dat", ".txt", ".jpg_large", ".JFIF", ".jpe", ".mpo", ".bin", ".tmp~"))]  # fmt: skip
    fill(tmp_path, dict(zip(names, FILES.values(), strict=True)) | NO_IMAGES)

    assert ids(find_images([tmp_path])) == sorted(names)


def test_every_kind_that_is_read_is_known_by_its_bytes():
    assert {kind: kind_of(data[:132]) for kind, data in FILES.items()} == {
        kind: kind for kind in READ
    }
    assert [name for name, data in NO_IMAGES.items() if kind_of(data[:132])] == [
        "._a.jpg",
        "a.jpg@SynoEAStream",
    ]
    assert kind_of(b"") is None


@pytest.mark.parametrize(
    "name",
    [
        "a.heic",
        "a.avif",
        "a.jp2",
        "a.jxl",
        "a.jfif",
        "a.JPE",
        "a.mpo",
        "a.psd",
        "a.dng",
        "a.ico",
        "a.svg",
    ],
)
def test_what_bears_the_name_of_an_image_is_listed_so_that_reading_says_what_it_is(tmp_path, name):
    (tmp_path / name).touch()

    assert ids(find_images([tmp_path])) == [name]


@pytest.mark.parametrize("clutter", CLUTTER)
def test_what_systems_leave_behind_is_no_image_and_no_class(tmp_path, clutter):
    photo = {"a.jpg": FILES["JPEG"]}
    fill(tmp_path / "cat", photo)
    fill(tmp_path / "cat" / clutter / "a.jpg", {"SYNOPHOTO_THUMB_XL.jpg": FILES["JPEG"]})
    fill(tmp_path / clutter, photo)

    assert is_clutter(clutter)
    assert [folder.name for folder in class_folders(tmp_path)] == ["cat"]
    assert ids(folder_per_class(tmp_path)) == ids(find_images([tmp_path])) == ["cat/a.jpg"]


def test_a_folder_that_is_named_is_listed_whatever_its_name(tmp_path):
    fill(tmp_path / ".thumbnails", {"a.jpg": FILES["JPEG"]})

    assert ids(find_images([tmp_path / ".thumbnails"])) == ["a.jpg"]


def test_what_cannot_be_opened_is_listed(tmp_path, monkeypatch):
    fill(tmp_path, {"a.jpg": FILES["JPEG"], "locked": FILES["PNG"]})

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(scanning.os, "open", refuse)  # root opens every file
    assert ids(find_images([tmp_path])) == ["a.jpg", "locked"]


def test_links_that_lead_to_themselves_end_no_listing(tmp_path):
    fill(tmp_path / "cat", {"a.jpg": FILES["JPEG"]})
    for name in ("loop", "cat/loop", "cat/b.png"):
        (tmp_path / name).symlink_to(tmp_path / name)

    assert ids(folder_per_class(tmp_path)) == ["cat/a.jpg", "cat/b.png"]
    assert ids(find_images([tmp_path])) == ["cat/a.jpg", "cat/b.png"]


def test_files_of_known_suffixes_are_not_opened_and_pipes_never(tmp_path, monkeypatch):
    fill(tmp_path, {f"a{suffix}": b"" for suffix in SUFFIXES})
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    monkeypatch.setattr(scanning.os, "open", None)

    assert ids(find_images([tmp_path])) == sorted(f"a{suffix}" for suffix in SUFFIXES)


def test_a_store_is_listed_as_a_folder_is(tmp_path):
    names = {"plain": FILES["PNG"], "a.dat": FILES["WEBP"], "a.heic": b"", "@eaDir/a.jpg": b""}
    local = fill(tmp_path / "local", names | NO_IMAGES)
    system = fsspec.filesystem("memory")
    system.put(f"{local}/", "/scan/cat/", recursive=True)
    try:
        assert ids(find_images(["memory://scan/cat"])) == ids(find_images([local]))
        assert ids(folder_per_class("memory://scan")) == ["cat/a.dat", "cat/a.heic", "cat/plain"]
    finally:
        system.rm("/scan", recursive=True)
