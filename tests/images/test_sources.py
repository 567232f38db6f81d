"""Listings: sorted, complete, named in text that can be stored, and refused in one sentence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synood.errors import InputError
from synood.files import readable
from synood.images.imglist import read_imglist
from synood.images.sources import (
    ImageIndex,
    ImageRecord,
    find_images,
    folder_per_class,
)


def plant(root, *names):
    """Empty files: listing does not open them."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def ids(index):
    return [record.id for record in index.records]


def test_folders_become_classes_in_sorted_order(tmp_path):
    plant(tmp_path, "tree_frog/b.png", "tree_frog/a.JPEG", "bee/deep/er/1.jpg", "bee/2.webp")

    index = folder_per_class(tmp_path)

    assert index.root == tmp_path
    assert index.class_names == ("bee", "tree frog")
    assert index.records == (
        ImageRecord("bee/2.webp", tmp_path / "bee/2.webp", "bee"),
        ImageRecord("bee/deep/er/1.jpg", tmp_path / "bee/deep/er/1.jpg", "bee"),
        ImageRecord("tree_frog/a.JPEG", tmp_path / "tree_frog/a.JPEG", "tree frog"),
        ImageRecord("tree_frog/b.png", tmp_path / "tree_frog/b.png", "tree frog"),
    )


def test_what_is_no_image_of_a_class_is_passed_over(tmp_path):
    plant(
        tmp_path, "bee/1.jpg", "bee/notes.txt", "bee/._1.jpg", ".git/x.png", "names.json", "a.png"
    )

    assert ids(folder_per_class(tmp_path)) == ["bee/1.jpg"]


def test_order_does_not_come_from_the_file_system(tmp_path):
    names = [f"{folder}/{file}.png" for folder in "dbca" for file in (10, 9, "Z", "a", "_")]
    plant(tmp_path, *names)

    assert ids(folder_per_class(tmp_path)) == sorted(names)
    assert ids(find_images([tmp_path])) == sorted(names)


def test_names_for_folders_as_pairs_and_as_a_list(tmp_path):
    plant(tmp_path, "n02/1.jpg", "n01/1.jpg")

    pairs = folder_per_class(tmp_path, {"n02": "bee", "n01": " tree \n frog "})
    listed = folder_per_class(tmp_path, ["tree frog", "bee"])

    assert pairs.class_names == listed.class_names == ("tree frog", "bee")
    assert [r.label for r in pairs.records] == ["tree frog", "bee"]


@pytest.mark.parametrize(
    ("files", "classes", "message"),
    [
        (["a.png"], None, "has no class folders; put each class in its own"),
        (["bee/1.jpg", "ant/notes.txt"], None, "ant: the class 'ant' holds no images"),
        (["bee/1.jpg", "Bee/1.jpg"], None, "folders 'Bee' and 'bee' are both the class 'bee'"),
        (["a_b/1.jpg", "a b/1.jpg"], None, "'a b' and 'a_b' are both the class 'a b'"),
        (["x/1.jpg", "y/1.jpg"], ["bee", "Bee "], "'x' and 'y' are both the class 'Bee'"),
        (["x/1.jpg", "y/1.jpg"], ["bee"], "has 2 class folders, but 1 names are given"),
        (["x/1.jpg", "y/1.jpg"], {"x": "bee"}, "have none for the folder 'y'"),
        (["x/1.jpg"], {"x": "bee", "z": "ant"}, "has no folder 'z', which the class names list"),
        (["x/1.jpg"], {"x": " "}, "x: its class name is empty"),
        (["_/1.jpg"], None, "_: its class name is empty"),
    ],
)
def test_folders_that_make_no_classes_are_refused(tmp_path, files, classes, message):
    plant(tmp_path, *files)

    with pytest.raises(InputError, match=message) as raised:
        folder_per_class(tmp_path, classes)
    assert str(raised.value).startswith(str(tmp_path))


def test_missing_folder_and_file_in_its_place(tmp_path):
    plant(tmp_path, "a.png")

    with pytest.raises(InputError, match="nowhere: no such folder"):
        folder_per_class(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"a\.png: is a file, not a folder"):
        folder_per_class(tmp_path / "a.png")
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        find_images([tmp_path / "nowhere"])
    with pytest.raises(InputError, match="no such file or folder"):
        find_images([tmp_path / ("x" * 5000)])


def test_files_and_folders_together_are_sorted_and_named_once(tmp_path):
    plant(tmp_path, "new/2.png", "new/1.png", "old/z.jpg", "readme.md", "odd.dat")
    given = [tmp_path / "new", tmp_path / "old/z.jpg", tmp_path / "odd.dat", tmp_path / "new/2.png"]

    index = find_images(given)

    assert index.root == tmp_path
    assert index.class_names == ()
    assert ids(index) == ["new/1.png", "new/2.png", "odd.dat", "old/z.jpg"]
    assert {record.label for record in index.records} == {None}
    assert [record.path for record in index.records] == [tmp_path / name for name in ids(index)]


def test_paths_stay_as_the_user_wrote_them(tmp_path, monkeypatch):
    plant(tmp_path, "here/a.png", "there/a.png")
    monkeypatch.chdir(tmp_path / "here")

    index = find_images([Path("a.png"), Path("../there")])

    assert ids(index) == ["here/a.png", "there/a.png"]
    assert [record.path for record in index.records] == [Path("a.png"), Path("../there/a.png")]
    assert ids(find_images([Path()])) == ["a.png"]
    assert ids(find_images([Path("a.png")])) == ["a.png"]


def test_nothing_to_find_is_said(tmp_path):
    plant(tmp_path, "empty/readme.md")

    with pytest.raises(InputError, match="no images given"):
        find_images([])
    with pytest.raises(InputError, match=r"empty: holds no images; put some \(JPEG, "):
        find_images([tmp_path / "empty"])


def test_links_are_followed_and_loops_end(tmp_path):
    plant(tmp_path, "store/1.jpg", "set/bee/2.jpg")
    (tmp_path / "set/bee/more").symlink_to(tmp_path / "store")
    (tmp_path / "set/bee/same.jpg").symlink_to(tmp_path / "store/1.jpg")
    (tmp_path / "set/bee/loop").symlink_to(tmp_path / "set")
    (tmp_path / "set/bee/gone.jpg").symlink_to(tmp_path / "nothing.jpg")

    # A link to nothing is listed: to leave it out would hide that an image is lost.
    assert ids(folder_per_class(tmp_path / "set")) == [
        "bee/2.jpg",
        "bee/gone.jpg",
        "bee/more/1.jpg",
        "bee/same.jpg",
    ]


def test_names_outside_utf8_open_and_can_be_stored(tmp_path):
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    Path(os.fsdecode(folder)).mkdir()
    (Path(os.fsdecode(folder)) / os.fsdecode(b"\xff.png")).write_bytes(b"x")

    (record,) = folder_per_class(tmp_path).records

    assert record.id == r"caf\xe9/\xff.png"
    assert record.label == r"caf\xe9"
    assert record.path.read_bytes() == b"x"
    json.dumps([record.id, record.label], ensure_ascii=False).encode()


def test_two_names_that_look_alike_as_text_are_refused(tmp_path):
    plant(tmp_path, os.fsdecode(b"\xff.png"), r"\xff.png")

    with pytest.raises(InputError, match="is listed twice"):
        find_images([tmp_path])


@given(st.binary(min_size=1, max_size=30).filter(lambda b: b"/" not in b and b"\0" not in b))
def test_readable_is_utf8_and_leaves_utf8_alone(name):
    text = readable(Path(os.fsdecode(b"d/" + name)))

    text.encode()
    try:
        plain = name.decode()
    except UnicodeDecodeError:
        assert "\\x" in text
    else:
        assert text == Path("d", plain).as_posix()


def test_two_spellings_of_a_path_are_one_image(tmp_path):
    (tmp_path / "list.txt").write_text("./a//b.png 0\n")
    (record,) = read_imglist(tmp_path / "list.txt", tmp_path).records
    assert (record.id, record.path) == ("a/b.png", tmp_path / "a/b.png")
    (tmp_path / "list.txt").write_text("./a//b.png 0\na/b.png 0\n")
    with pytest.raises(InputError, match=r"'a/b\.png' is listed twice"):
        read_imglist(tmp_path / "list.txt", tmp_path)


def test_records_are_a_sequence_like_any_other(tmp_path):
    plant(tmp_path, "bee/1.jpg", "bee/2.jpg", "ant/3.jpg")
    records = folder_per_class(tmp_path).records
    whole = tuple(records)

    assert len(records) == 3
    assert records == whole
    assert records != whole[:2]
    assert records != (*whole[:2], ImageRecord("ant/3.jpg", tmp_path / "ant/3.jpg", "bee"))
    assert records[-1] == whole[2]
    assert records[1:] == whole[1:]
    assert whole[1] in records
    assert hash(records) == hash(folder_per_class(tmp_path).records)
    with pytest.raises(IndexError):
        records[3]


def test_classes_without_images_are_not_used(tmp_path):
    (tmp_path / "list.txt").write_text("a.png 2\nb.png -1\nc.png 0\n")
    index = read_imglist(tmp_path / "list.txt", tmp_path, ["ant", "bee", "cat"])
    assert index.used_class_names() == ("ant", "cat")
    assert ImageIndex(tmp_path, ("bee", "ant"), index.records[2:]).used_class_names() == ("ant",)


def test_a_folder_is_named_in_either_spelling_of_its_accents(tmp_path):
    composed, apart = "caf\u00e9", "cafe\u0301"
    plant(tmp_path, f"{apart}/1.jpg", "dog/1.jpg")

    assert folder_per_class(tmp_path).class_names == (composed, "dog")
    named = folder_per_class(tmp_path, {composed: "coffee", "dog": "dog"})
    assert named.class_names == ("coffee", "dog")
    plant(tmp_path, f"{composed}/1.jpg")
    with pytest.raises(InputError, match=r"both the class .* \(their accents are encoded diff"):
        folder_per_class(tmp_path)
