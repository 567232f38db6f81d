"""Images as a command line names them: list files, standard input and patterns."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from synood.errors import InputError
from synood.images.listing import listed_images

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Four images in two folders, and a text; the working directory is above them."""
    for name in ("photos/b.png", "photos/a.png", "photos/deep/c.png", "photos/deep/IMG_1"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(PNG)
    (tmp_path / "photos" / "notes.md").write_text("no image")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paths(*words: str, data: bytes = b"") -> list[str]:
    return [record.path.as_posix() for record in listed_images(words, lambda: data).records]


def test_a_list_keeps_its_order_and_is_read_beside_itself_first(photos):
    Path("photos/list.txt").write_text("b.png\n\nphotos/a.png\r\nb.png\n./b.png\n")
    assert paths("photos/list.txt") == ["photos/b.png", "photos/a.png"]
    Path("photos/photos").mkdir()
    Path("photos/photos/a.png").write_bytes(PNG)
    assert paths("photos/list.txt") == ["photos/b.png", "photos/photos/a.png"]


def test_what_a_list_names_in_vain_stays_in_its_place(photos):
    Path("list.txt").write_text("photos/b.png\nnowhere/x.png\n" + "a" * 5000 + "\nphotos/a.png\n")
    assert paths("list.txt") == ["photos/b.png", "nowhere/x.png", "a" * 5000, "photos/a.png"]
    Path("empty").mkdir()
    Path("list.txt").write_text("empty\nphotos/deep\n")
    assert paths("list.txt") == ["empty", "photos/deep/IMG_1", "photos/deep/c.png"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"photos/b.png\nphotos/a.png", ["photos/b.png", "photos/a.png"]),
        (b"photos/a\nb.png\0photos/a.png\0", ["photos/a\nb.png", "photos/a.png"]),
        (b"\xef\xbb\xbfphotos/b.png\r\n", ["photos/b.png"]),
        ("photos/b.png\r\n".encode("utf-16"), ["photos/b.png"]),
        (b"photos/caf\xe9.png\n", [os.fsdecode(b"photos/caf\xe9.png")]),
    ],
)
def test_standard_input_is_a_list(photos, data, expected):
    found = listed_images(["-"], lambda: data).records
    assert [record.path for record in found] == [Path(name) for name in expected]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("photos/*.png", ["photos/a.png", "photos/b.png"]),
        ("photos/**/*.png", ["photos/a.png", "photos/b.png", "photos/deep/c.png"]),
        ("photos/**/IMG_?", ["photos/deep/IMG_1"]),
        ("photos/[b]*", ["photos/b.png"]),
        ("photos/d*", ["photos/deep/IMG_1", "photos/deep/c.png"]),
        ("photos/*", ["photos/a.png", "photos/b.png", "photos/deep/IMG_1", "photos/deep/c.png"]),
    ],
)
def test_a_pattern_matches_images_sorted(photos, pattern, expected):
    assert paths(pattern) == expected
    assert paths(str(photos / pattern)) == [f"{photos}/{name}" for name in expected]


def test_a_pattern_passes_over_what_systems_leave(photos):
    (photos / "photos" / "@eaDir").mkdir()
    (photos / "photos" / "@eaDir" / "a.png").write_bytes(PNG)
    assert paths("photos/**/a.png") == ["photos/a.png"]


def test_a_file_named_like_a_pattern_or_a_list_is_that_file(photos):
    Path("a[1].png").write_bytes(PNG)
    Path("image.txt").write_bytes(PNG)
    assert paths("a[1].png") == ["a[1].png"]
    assert paths("image.txt", "photos/*.png")[0] == "image.txt"


def test_lists_patterns_and_files_together_count_an_image_once(photos):
    Path("list.txt").write_text("photos/b.png\n")
    found = paths("photos/deep", "list.txt", "photos/*.png", "-", data=b"photos/a.png\n")
    assert found == ["photos/deep/IMG_1", "photos/deep/c.png", "photos/b.png", "photos/a.png"]


def test_files_and_folders_alone_are_listed_as_ever(photos):
    assert [record.id for record in listed_images(["photos"]).records] == [
        "a.png",
        "b.png",
        "deep/IMG_1",
        "deep/c.png",
    ]


@pytest.mark.parametrize(
    ("words", "data", "reason"),
    [
        (["-"], b" \n\n", "standard input: lists no images"),
        (["-"], PNG, "standard input: holds an image, not a list"),
        (["empty.txt"], b"", r"empty\.txt: lists no images"),
        (["absent.txt"], b"", r"absent\.txt: no such file"),
        (["photos/*.jpg"], b"", "no image matches this pattern"),
        (["photos/*.md"], b"", "no image matches this pattern"),
        (["-", "absent.png"], b"photos/a.png", r"absent\.png: no such file"),
        ([], b"", "no images given"),
    ],
)
def test_what_lists_nothing_is_refused(photos, words, data, reason):
    Path("empty.txt").touch()
    with pytest.raises(InputError, match=reason):
        listed_images(words, lambda: data)
