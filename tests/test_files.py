"""A file is there whole or not at all, whatever ends the writer; reading names what is wrong."""

from __future__ import annotations

import hashlib
import io
import math
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synood.errors import InputError
from synood.files import (
    fingerprint,
    printable,
    read_json,
    read_jsonl,
    read_text,
    replacing,
    sha256_bytes,
    sha256_file,
    text_lines,
    write_bytes,
    write_json,
    write_jsonl,
    write_text,
)

# Text that can be stored: everything but halves of characters, and but what Unicode also calls
# the end of a line, which has a test of its own.
LINE_ENDS = "\x85\u2028\u2029"
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=LINE_ENDS))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)

WRITER = """
import sys
from pathlib import Path
from synood.files import replacing

with replacing(Path(sys.argv[1])) as part, part.open("wb") as file:
    while True:
        file.write(b"new" * 1000)
        file.flush()
        print("wrote", flush=True)
"""
FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from synood.files import write_bytes

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_bytes(Path(sys.argv[1]), b"new" * 1000)
except OSError:
    sys.exit(7)
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("old", [b"old", None])
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_writer_leaves_the_file_as_it_was(tmp_path, old, blow):
    target = tmp_path / "features.bin"
    if old is not None:
        target.write_bytes(old)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout.readline() == "wrote\n"
    writer.send_signal(blow)
    writer.communicate()

    assert writer.returncode == -blow
    assert (target.read_bytes() if target.exists() else None) == old
    # What a killed process cannot clear away is hidden and can be told by its name.
    (leftover,) = [name for name in names(tmp_path) if name != target.name]
    assert leftover.startswith(".features.bin.")
    assert leftover.endswith(".part")
    write_bytes(target, b"next")
    assert target.read_bytes() == b"next"


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path):
    target = tmp_path / "features.bin"
    target.write_bytes(b"old")

    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(target)], check=False)

    assert done.returncode == 7
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["features.bin"]


def test_a_reader_sees_old_or_new_and_never_between(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old" * 5000)
    code = (
        "import sys; from pathlib import Path; from synood.files import write_text\n"
        "for _ in range(300): [write_text(Path(sys.argv[1]), w * 5000) for w in ('new', 'old')]"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(target)])
    seen = set()
    while writer.poll() is None:
        seen.add(target.read_text())
        time.sleep(0.0005)

    assert writer.returncode == 0
    assert seen <= {"old" * 5000, "new" * 5000}
    assert len(seen) == 2


def test_an_error_in_the_block_leaves_nothing(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def fail():
        with replacing(target) as part:
            part.write_text("half")
            raise KeyError("in the middle")

    with pytest.raises(KeyError, match="in the middle"):
        fail()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_success_leaves_only_the_file_readable_by_others(tmp_path):
    write_text(tmp_path / "new/deep/a.txt", "Grüße\n")

    assert names(tmp_path / "new/deep") == ["a.txt"]
    assert (tmp_path / "new/deep/a.txt").read_bytes() == "Grüße\n".encode()
    assert stat.S_IMODE((tmp_path / "new/deep/a.txt").stat().st_mode) == 0o644


@pytest.mark.parametrize("bad", [math.nan, math.inf, {"deep": [-math.inf]}, object(), {1, 2}])
def test_what_is_not_json_is_not_written(tmp_path, bad):
    target = tmp_path / "a.json"
    write_json(target, {"old": 1})

    for write, value in ((write_json, {"x": bad}), (write_jsonl, [{"x": 1}, {"x": bad}])):
        with pytest.raises((ValueError, TypeError)):
            write(target, value)

    assert read_json(target) == {"old": 1}
    assert names(tmp_path) == ["a.json"]


@given(json_values)
def test_json_comes_back(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "a.json"

    write_json(path, value)

    assert read_json(path) == value


def test_json_is_written_byte_for_byte(tmp_path):
    write_json(tmp_path / "a.json", {"b": "é", "a": [1, 0.1]})
    write_jsonl(tmp_path / "a.jsonl", [{"b": "é"}, {"a": None}])

    assert (tmp_path / "a.json").read_bytes() == (
        '{\n  "b": "é",\n  "a": [\n    1,\n    0.1\n  ]\n}\n'.encode()
    )
    assert (tmp_path / "a.jsonl").read_bytes() == '{"b": "é"}\n{"a": null}\n'.encode()


@given(st.lists(st.dictionaries(text, json_values, max_size=3), max_size=4))
def test_json_lines_come_back(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "a.jsonl"

    write_jsonl(path, rows)

    assert read_jsonl(path) == rows
    assert path.read_bytes().count(b"\n") == len(rows)


@pytest.mark.parametrize("character", LINE_ENDS)
def test_json_lines_may_hold_other_line_ends(tmp_path, character):
    rows = [{"text": f"above{character}below"}]

    write_jsonl(tmp_path / "a.jsonl", rows)

    assert read_jsonl(tmp_path / "a.jsonl") == rows


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not readable as JSON"),
        (b'{"a": 1', "not readable as JSON"),
        (b"\xff\xfa", r"byte 0 \(0xff\) is not UTF-8 text; save the file as UTF-8"),
        (b"[" * 100_000, "not readable as JSON"),
    ],
)
def test_broken_json_is_named(tmp_path, data, message):
    path = tmp_path / "a.json"
    path.write_bytes(data)

    with pytest.raises(InputError, match=message) as raised:
        read_json(path)
    assert str(path) in str(raised.value)


def test_broken_lines_are_named(tmp_path):
    path = tmp_path / "a.jsonl"

    path.write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(InputError, match=r"a\.jsonl, line 2: not a JSON object"):
        read_jsonl(path)
    path.write_text('{"a": 1}\n[1]\n')
    with pytest.raises(InputError, match=r"a\.jsonl, line 2: not a JSON object"):
        read_jsonl(path)
    path.write_bytes(b'{"a": "\xff"}\n')
    with pytest.raises(InputError, match=r"a\.jsonl, line 1: byte 7 \(0xff\) is not UTF-8"):
        read_jsonl(path)


@pytest.mark.parametrize("read", [read_json, read_jsonl])
def test_missing_files_and_folders_are_named(tmp_path, read):
    with pytest.raises(InputError, match=r"nowhere\.json: no such file"):
        read(tmp_path / "nowhere.json")
    with pytest.raises(InputError, match=f"{tmp_path.name}: is not a regular file"):
        read(tmp_path)


def test_hashes_are_sha256(tmp_path):
    data = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(data)

    assert sha256_file(tmp_path / "a") == sha256_bytes(data) == hashlib.sha256(data).hexdigest()


def test_fingerprints_follow_the_content():
    one = fingerprint({"a": 1, "b": [1.5, None]}, "x")

    assert one == fingerprint({"b": [1.5, None], "a": 1}, "x")
    assert len(one) == 16
    assert int(one, 16) >= 0
    others = [
        fingerprint({"a": 1, "b": [1.5, None]}, "y"),
        fingerprint({"a": 1, "b": [None, 1.5]}, "x"),
        fingerprint({"a": "1", "b": [1.5, None]}, "x"),
        fingerprint([{"a": 1, "b": [1.5, None]}, "x"]),
        fingerprint("x", {"a": 1, "b": [1.5, None]}),
    ]
    assert len({one, *others}) == 6


def test_fingerprints_do_not_change_between_processes():
    code = "from synood.files import fingerprint; print(fingerprint({'b': {'x': 1}, 'a': 'é'}))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }

    assert outputs == {f"{fingerprint({'a': 'é', 'b': {'x': 1}})}\n".encode()}


def test_a_path_counts_as_its_text():
    assert fingerprint(Path("a/b")) == fingerprint("a/b")


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-mark", "utf-16-be-mark"]
)
def test_text_is_read_as_editors_and_shells_write_it(tmp_path, encoding):
    text = '{"name": "caf\u00e9 \U0001f408"}\r\n'
    codec = encoding.removesuffix("-mark")
    mark = {"utf-16-le-mark": b"\xff\xfe", "utf-16-be-mark": b"\xfe\xff"}.get(encoding, b"")
    path = tmp_path / "a.json"
    path.write_bytes(mark + text.encode(codec))

    assert read_text(path) == text
    assert read_json(path) == {"name": "caf\u00e9 \U0001f408"}
    assert read_jsonl(path) == [{"name": "caf\u00e9 \U0001f408"}]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("cat\ncaf\u00e9\n".encode("latin-1"), r"line 2: byte 7 \(0xe9\) is not UTF-8 text"),
        ("\u201ccat\u201d".encode("cp1252"), r"line 1: byte 0 \(0x93\) is not UTF-8 text"),
        ("cat".encode("utf-16-le"), "byte 1 is NUL"),
        ("cat".encode("utf-16-be"), "byte 0 is NUL"),
        ("cat".encode("utf-32"), "is NUL"),
        (b"\xff\xfec", r"byte 2 \(0x63\) is not UTF-16 text"),
        (b"cat\0dog", "byte 3 is NUL"),
    ],
)
def test_other_bytes_are_refused_with_the_byte_and_the_fix(tmp_path, data, message):
    (tmp_path / "names.txt").write_bytes(data)

    with pytest.raises(InputError, match=rf"names\.txt.*{message}.*; save the file as UTF-8"):
        read_text(tmp_path / "names.txt")


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_lines_end_as_in_a_text_file_and_nowhere_else(text):
    lines = text_lines(text)

    assert lines == io.StringIO(text, newline=None).read().removesuffix("\n").split("\n") or (
        text == "" and lines == []
    )


@given(st.text())
def test_what_is_printable_is_one_line_and_moves_no_cursor(text):
    shown = printable(text)

    assert len(shown.splitlines()) <= 1
    assert "\x1b" not in shown
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (r'{"name": "\ud800cat"}', r"half of a character, '\\ud800'"),
        (r'{"name": "\uDE00"}', r"half of a character, '\\ude00'"),
        ('{"a": "cat", "a": "dog"}', "the key 'a' is listed twice"),
    ],
)
def test_json_that_no_text_can_hold_or_that_loses_a_name_is_refused(tmp_path, text, reason):
    path = tmp_path / "names.json"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"names.json: not readable as JSON \({reason}"):
        read_json(path)
    with pytest.raises(InputError, match=rf"names.json, line 1: .*{reason}"):
        read_jsonl(path)
    path.write_text(r'{"name": "\ud83d\ude00"}')
    assert read_json(path) == read_jsonl(path)[0] == {"name": "\U0001f600"}
