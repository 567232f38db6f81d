"""`synood export`, and `synood score` of what it wrote, in a process that has no torch."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synood.cli import main

pytestmark = pytest.mark.numerical

WITHOUT_TORCH = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} is not here")

sys.meta_path.insert(0, Absent())
from synood.cli import main
sys.exit(main(sys.argv[1:]))
"""
EXAMPLE = Path(__file__).parents[2] / "examples" / "score_onnx.py"
BLOCKED = ("torch", "transformers", "onnx", "onnxscript", "huggingface_hub", "diffusers")


def rows_of(text):
    return [json.loads(line) for line in text.splitlines()]


def run(*words):
    assert main([str(word) for word in words]) == 0


def refused(capsys, *words):
    assert main([str(word) for word in words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = [line for line in captured.err.splitlines() if line.startswith("synood: ")]
    return line


def test_scores_without_torch_are_the_detectors(tiny_detector, tiny_file, pictures, capsys):
    capsys.readouterr()
    run("score", tiny_detector, pictures, "--format", "jsonl")
    own = rows_of(capsys.readouterr().out)
    words = ("score", tiny_file, pictures, "--format", "jsonl")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH.format(blocked=BLOCKED), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    theirs = rows_of(done.stdout)
    assert [[*row] for row in theirs] == [[*row] for row in own]
    for a, b in zip(own, theirs, strict=True):
        assert (b["path"], b["label"]) == (a["path"], a["label"])
        assert b["score"] == pytest.approx(a["score"], abs=0.02)
    assert sum(a["is_ood"] != b["is_ood"] for a, b in zip(own, theirs, strict=True)) <= 1


def test_an_export_says_what_it_wrote(tiny_detector, tiny_file, tmp_path, capsys, monkeypatch):
    shutil.copytree(tiny_detector, tmp_path / "mine.v1")
    monkeypatch.chdir(tmp_path)
    run("export", "mine.v1", "--input", "features")
    made = tmp_path / "mine.v1.onnx"
    out = capsys.readouterr().out
    assert f"{made.as_posix()}: 0.0 MB" in out
    assert "verdicts differ from the detector's on 0 of" in out
    assert "exists already" in refused(capsys, "export", "mine.v1")
    made.write_bytes(b"old")
    run("export", "mine.v1", "--input", "features", "--overwrite")
    assert made.stat().st_size > 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.v1", "mine.v1.onnx"]


@pytest.mark.parametrize("name", ["mine.onnx", "renamed.bin"])
def test_what_is_no_exported_file(name, tiny_file, pictures, tmp_path, capsys):
    whole = tiny_file.read_bytes()
    path = tmp_path / name
    words = ("score", path, pictures, "--runtime", "onnx")
    assert "no such file" in refused(capsys, *words)
    for damaged in (b"", b"text", whole[:-1000], whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        assert name in refused(capsys, *words)
    path.write_bytes(whole)
    run(*words)


def test_options_that_an_exported_file_does_not_know(tiny_detector, tiny_file, pictures, capsys):
    score = ("score", tiny_file, pictures)
    assert "cannot --explain" in refused(capsys, *score, "--explain", "--format", "csv")
    assert "leave --executor out" in refused(capsys, *score, "--executor", "ray")
    assert "runs on the CPU alone" in refused(capsys, *score, "--device", "cuda")
    assert "runs on the CPU alone" in refused(capsys, *score, "--models", "mini")
    assert "`synood export`" in refused(
        capsys, "score", tiny_detector, pictures, "--runtime", "onnx"
    )
    assert "not the directory of a detector" in refused(capsys, *score, "--runtime", "torch")


def test_one_bad_image_stops_nothing(tiny_file, pictures, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(b"no image")
    strip = Image.fromarray(np.zeros((1, 200_000, 3), np.uint8))
    strip.save(tmp_path / "b.png")
    shutil.copy(next(pictures.rglob("*.png")), tmp_path / "c.png")
    assert main(["score", str(tiny_file), str(tmp_path), "--format", "jsonl"]) == 2
    captured = capsys.readouterr()
    first, second, third = rows_of(captured.out)
    assert "a.png" in first["error"]
    assert "b.png: a strip of 200000 x 1 pixels is too long" in second["error"]
    assert third["score"] is not None
    assert "2 of 3 images have no score" in captured.err


def test_exit_codes_and_false_discovery_rate_are_those_of_a_detector(
    tiny_detector, tiny_file, pictures, capsys
):
    assert main(["score", str(tiny_file), str(pictures), "--fail-on-ood"]) == 3
    capsys.readouterr()
    for detector in (tiny_detector, tiny_file):
        assert "at --fdr 0.001" in refused(capsys, "score", detector, pictures, "--fdr", "0.001")
    run("score", tiny_file, pictures, "--fdr", "0.5", "--format", "jsonl")
    assert {row["is_ood"] for row in rows_of(capsys.readouterr().out)} <= {True, False}


def test_forty_lines_do_the_same_without_the_package(tiny_file, pictures, capsys):
    assert len(EXAMPLE.read_text().splitlines()) <= 40
    capsys.readouterr()
    run("score", tiny_file, pictures, "--format", "jsonl")
    rows = rows_of(capsys.readouterr().out)
    code = WITHOUT_TORCH.format(blocked=(*BLOCKED, "synood"))
    code = code[: code.index("from synood.cli")] + "import runpy\nsys.argv.pop(0)\n"
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    words = [str(EXAMPLE), str(tiny_file), *(row["path"] for row in rows)]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for line, row in zip(done.stdout.splitlines(), rows, strict=True):
        verdict, score, label, path = line.split("\t")
        assert (label, path) == (row["label"], row["path"])
        assert verdict == ("OOD" if row["is_ood"] else "in")
        assert float(score) == pytest.approx(row["score"], abs=0.006)
