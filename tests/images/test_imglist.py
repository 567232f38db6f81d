"""Lists of images and of class names: read as they are written, or refused by file and line."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synood.errors import InputError
from synood.images._records import Records, read_lines
from synood.images.imglist import read_imglist
from synood.images.sources import read_class_names


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


def test_long_names_of_one_end_are_told_apart(tmp_path):
    end = "x" * 60
    (tmp_path / "list.txt").write_text(f"a{end}.png 0\nb{end}.png 0\n")
    assert len(read_imglist(tmp_path / "list.txt", tmp_path).records) == 2
    (tmp_path / "list.txt").write_text(f"a{end}.png 0\nb{end}.png 0\na{end}.png 1\n")
    with pytest.raises(InputError, match="is listed twice"):
        read_imglist(tmp_path / "list.txt", tmp_path)


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
