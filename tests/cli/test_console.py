"""What the console shows: progress as lines or bars."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from synood.cli.console import Bars, Lines


def test_lines_come_at_start_end_and_tenths_and_after_silence():
    lines: list[str] = []
    now = [0.0]
    report = Lines(lines.append, clock=lambda: now[0])
    for done in range(101):
        report("paint", done, 100, f"picture {done}")
    assert lines == [f"paint {n}/100 picture {n}" for n in range(0, 101, 10)]
    report("tune", 0, 0, "few images")
    assert lines[-1] == "tune: few images"
    lines.clear()
    report("slow", 1, 1000, "")
    report("slow", 2, 1000, "")
    now[0] = 60.0
    report("slow", 3, 1000, "")
    assert lines == ["slow 1/1000", "slow 3/1000"]


def test_bars_show_stages_and_remarks(capsys):
    with Bars() as report:
        report("paint", 1, 2, "with [brackets]")
        report("paint", 0, 0, "a remark with [brackets]")
        report("paint", 2, 2, "")
    shown = capsys.readouterr().err
    assert "a remark with [brackets]" in shown
    assert "2/2" in shown


# Names that the console cannot show


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_name_outside_the_console_s_encoding_costs_no_output(
    in_process, detector, images, tmp_path, encoding
):
    odd = os.fsdecode(b"caf\xe9-\xff.png")  # bytes that are no UTF-8
    for name in ("日本.png", "plain.png", odd):
        shutil.copy(images / "cat" / "0.png", tmp_path / name)
    env = {"PYTHONIOENCODING": encoding, "LC_ALL": "C", "PYTHONUTF8": "0"}

    for form in ("table", "jsonl", "csv"):
        result = in_process("score", detector, tmp_path, "--format", form, env=env)
        assert result.returncode == 0, result.stderr
        shown = r"\u65e5\u672c.png" if form == "table" else "日本.png"  # other programs read UTF-8
        assert shown in result.stdout
        assert r"caf\xe9-\xff.png" in result.stdout.replace("\\\\", "\\")
        assert "plain.png" in result.stdout

    out = tmp_path / "verdicts.jsonl"
    result = in_process("score", detector, tmp_path, "--format", "jsonl", "--out", out, env=env)
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["path"].rpartition("/")[2] for row in rows] == [
        r"caf\xe9-\xff.png", "plain.png", "日本.png",
    ]  # fmt: skip


def test_an_error_names_a_file_outside_the_console_s_encoding(in_process, detector, tmp_path):
    (tmp_path / "日本.png").write_bytes(b"none")
    env = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    result = in_process("score", detector, tmp_path / "日本.png", env=env)
    assert result.returncode == 2
    assert r"\u65e5\u672c.png" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("score DETECTOR IMAGES | true", 0),  # the reader is gone before anything is written
        ("score DETECTOR IMAGES 2> >(true) | cat", 0),
        ("score DETECTOR IMAGES >&-", 0),
        ("score DETECTOR nowhere 2>&-", 2),
        ("--help | true", 0),
        ("benchmark list | true", 0),
    ],
)
def test_a_closed_pipe_is_no_error(detector, images, command, code):
    line = command.replace("DETECTOR", str(detector)).replace("IMAGES", str(images))
    shell = ["bash", "-o", "pipefail", "-c", f"{sys.executable} -m synood {line}"]
    done = subprocess.run(shell, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Broken" not in done.stderr
    assert "Traceback" not in done.stderr
    if "cat" in command:  # what was read is whole
        assert len(done.stdout.splitlines()) == 16


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_standard_output_is_one_line(detector, images):
    line = f"{sys.executable} -m synood score {detector} {images} > /dev/full"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "synood: writing: No space left on device"
