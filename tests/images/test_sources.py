"""Listings: sorted, complete, named in text that can be stored, and refused in one sentence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synood.errors import InputError
from synood.files import readable
from synood.images._records import Records, read_lines
from synood.images.imglist import read_imglist
from synood.images.sources import (
    ImageIndex,
    ImageRecord,
    find_images,
    folder_per_class,
    read_class_names,
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


def test_imglist_of_openood(tmp_path):
    (tmp_path / "list.txt").write_bytes(
        b"\xef\xbb\xbfval/with space.JPEG 1\r\nval/b.png 0\n\n  val/10 11.jpg   -1 \nplain.png\n"
        b"bad\xff.png 0"
    )

    index = read_imglist(tmp_path / "list.txt", Path("data"), ["ant", "bee"])

    assert index.class_names == ("ant", "bee")
    assert [(r.id, r.label) for r in index.records] == [
        ("val/with space.JPEG", "bee"),
        ("val/b.png", "ant"),
        ("val/10 11.jpg", None),
        ("plain.png", None),
        (r"bad\xff.png", "ant"),
    ]
    assert index.records[0].path == Path("data/val/with space.JPEG")
    assert os.fsencode(index.records[4].path) == b"data/bad\xff.png"


def test_imglist_without_names_uses_the_numbers(tmp_path):
    (tmp_path / "list.txt").write_text("a.png 10\nb.png 9\nc.png 10\n")

    index = read_imglist(tmp_path / "list.txt", tmp_path)

    assert index.class_names == ("9", "10")
    assert [record.label for record in index.records] == ["10", "9", "10"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png 0\nb.png 2\n", "line 2: class 2 has no name"),
        ("a.png 0\nb.png 1\na.png 0\n", "'a.png' is listed twice"),
        (" \n\n", "lists no images"),
    ],
)
def test_imglist_that_does_not_fit_is_refused(tmp_path, text, message):
    (tmp_path / "list.txt").write_text(text)

    with pytest.raises(InputError, match=message) as raised:
        read_imglist(tmp_path / "list.txt", tmp_path, ["ant", "bee"])
    assert "list.txt" in str(raised.value)
    with pytest.raises(InputError, match=r"no\.txt: no such file"):
        read_imglist(tmp_path / "no.txt", tmp_path)


def test_class_names_from_json_and_text(tmp_path):
    (tmp_path / "pairs.json").write_text('{"n02": "bee", "n01": "café"}', encoding="utf-8")
    (tmp_path / "list.json").write_text('["bee", "ant"]')
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf bee\r\n\ntree frog \n")

    assert read_class_names(tmp_path / "pairs.json") == {"n02": "bee", "n01": "café"}
    assert read_class_names(tmp_path / "list.json") == ["bee", "ant"]
    assert read_class_names(tmp_path / "list.txt") == ["bee", "tree frog"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '"bee"', "needs a list of class names or folder: name pairs"),
        ("a.json", "[]", "needs a list of class names"),
        ("a.json", '["bee", 3]', "3 is not a class name"),
        ("a.json", '{"x": ""}', "'' is not a class name"),
        ("a.json", "[bee]", "not readable as JSON"),
        ("a.txt", "\n \n", "needs a list of class names"),
        ("a.csv", "bee", r"class names come from a \.json or a \.txt file"),
    ],
)
def test_class_names_that_are_none_are_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)

    with pytest.raises(InputError, match=message) as raised:
        read_class_names(tmp_path / name)
    assert name in str(raised.value)


def test_missing_class_names_are_named(tmp_path):
    for name in ("no.json", "no.txt"):
        with pytest.raises(InputError, match=f"{name}: .*[Nn]o such file"):
            read_class_names(tmp_path / name)


def parse_line_by_line(data: bytes):
    """The straight-line twin: one line after the other, in text."""
    found = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        text = line.strip(b" \t\r\n\v\f\x1c\x1d\x1e\x1f")
        if not text:
            continue
        name, _, last = text.rpartition(b" ")
        digits = last.removeprefix(b"-")
        if name and digits.isdigit() and len(digits) <= 18:
            label = -1 if last.startswith(b"-") else int(last)
            found.append((name.rstrip(b" \t\r\n\v\f\x1c\x1d\x1e\x1f"), label, number))
        else:
            found.append((text, -1, number))
    return found


WORDS = st.sampled_from(
    [b"a.png", b"b/c.jpg", b"x y", b" ", b"  ", b"\t", b"\r", b"\n", b"\n\n", b"1", b"-1", b"12",
     b"-", b"--3", b"9" * 18, b"9" * 19, b"\xef\xbb\xbf", b"\xff", b"caf\xc3\xa9", b"+4", b"0x1"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=25))
def test_lines_are_parsed_as_one_by_one(words):
    data = b"".join(words)

    starts, ends, numbers, lines = read_lines(data)

    names = [data[start:end] for start, end in zip(starts, ends, strict=True)]
    assert list(zip(names, numbers.tolist(), lines.tolist(), strict=True)) == (
        parse_line_by_line(data)
    )


@given(st.lists(st.text("ab/é", min_size=1, max_size=40), min_size=1, max_size=12))
def test_the_first_repeat_is_found_whatever_the_names_share(names):
    coded = [name.encode() for name in names]
    records = Records.of_names(Path(), coded, np.full(len(names), -1))

    seen = [name for row, name in enumerate(names) if name in names[:row]]

    assert records.first_repeat() == (seen[0] if seen else None)


def test_long_names_of_one_end_are_told_apart(tmp_path):
    end = "x" * 60
    (tmp_path / "list.txt").write_text(f"a{end}.png 0\nb{end}.png 0\n")
    assert len(read_imglist(tmp_path / "list.txt", tmp_path).records) == 2
    (tmp_path / "list.txt").write_text(f"a{end}.png 0\nb{end}.png 0\na{end}.png 1\n")
    with pytest.raises(InputError, match="is listed twice"):
        read_imglist(tmp_path / "list.txt", tmp_path)


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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_class_names_as_editors_and_shells_write_them(tmp_path, encoding, end):
    (tmp_path / "a.txt").write_bytes(end.join(["caf\u00e9", "fire_truck", ""]).encode(encoding))
    (tmp_path / "a.json").write_bytes('{"x": "cafe\u0301"}'.encode(encoding))

    assert read_class_names(tmp_path / "a.txt") == ["caf\u00e9", "fire truck"]
    assert read_class_names(tmp_path / "a.json") == {"x": "caf\u00e9"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("cat\ncaf\u00e9".encode("latin-1"), r"line 2: byte 7 \(0xe9\) is not UTF-8"),
        ("cat\ndog".encode("utf-16-le"), "byte 1 is NUL"),
        (b"c\0a\0t\0", "byte 1 is NUL"),
        (b"cat, dog, horse\n", "its one line, .* write one name per line"),
        (b"cat;dog", "its one line"),
        (b"cat\tdog", "its one line"),
    ],
)
def test_class_names_that_would_be_others_are_refused(tmp_path, data, message):
    (tmp_path / "names.txt").write_bytes(data)

    with pytest.raises(InputError, match=rf"names\.txt.*{message}"):
        read_class_names(tmp_path / "names.txt")


def test_names_with_commas_are_names_where_they_are_several(tmp_path):
    (tmp_path / "names.txt").write_text("tench, Tinca tinca\ngoldfish, Carassius auratus\n")
    (tmp_path / "names.json").write_text('["tench, Tinca tinca"]')

    assert len(read_class_names(tmp_path / "names.txt")) == 2
    assert read_class_names(tmp_path / "names.json") == ["tench, Tinca tinca"]


def test_a_folder_is_named_in_either_spelling_of_its_accents(tmp_path):
    composed, apart = "caf\u00e9", "cafe\u0301"
    plant(tmp_path, f"{apart}/1.jpg", "dog/1.jpg")

    assert folder_per_class(tmp_path).class_names == (composed, "dog")
    named = folder_per_class(tmp_path, {composed: "coffee", "dog": "dog"})
    assert named.class_names == ("coffee", "dog")
    plant(tmp_path, f"{composed}/1.jpg")
    with pytest.raises(InputError, match=r"both the class .* \(their accents are encoded diff"):
        folder_per_class(tmp_path)


def test_imglists_in_utf_16_and_their_class_names(tmp_path):
    (tmp_path / "list.txt").write_bytes("a.png 0\r\nb.png 1\r\n".encode("utf-16"))

    index = read_imglist(tmp_path / "list.txt", tmp_path, ["cafe\u0301", "fire_truck"])

    assert [(r.id, r.label) for r in index.records] == [
        ("a.png", "caf\u00e9"),
        ("b.png", "fire truck"),
    ]
    (tmp_path / "list.txt").write_bytes("a.png 0".encode("utf-16-le"))
    with pytest.raises(InputError, match=r"list\.txt: byte 1 is NUL"):
        read_imglist(tmp_path / "list.txt", tmp_path)
