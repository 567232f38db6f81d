"""`synood explain`, and the same as columns of `synood score`."""

import csv
import io
import json

import numpy as np
import pytest

from synood import OODDetector
from synood.cli import main


def test_explain_says_verdict_classes_and_labels(done, detector, images):
    text = done("explain", detector, images / "cat").out
    found = OODDetector.from_pretrained(detector).predict(images / "cat")
    blocks = text.split("\n\n")
    assert len(blocks) == len(found) == 5
    for block, one in zip(blocks, found, strict=True):
        first, classes, negatives, *_ = block.splitlines()
        assert first.startswith(f"{one.path}: {'OOD' if one.is_ood else 'in-distribution'} (")
        assert f"score {one.score:.2f}" in first
        for line, matches in ((classes, one.why.classes), (negatives, one.why.negatives)):
            assert len(matches) == 3
            for match in matches:
                assert f"{match.name!r} {match.cosine:.3f}" in line


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_score_has_the_same_as_columns(done, detector, images, form):
    words = ("score", detector, images / "cat", "--format", form)
    text = done(*words, "--explain").out
    found = OODDetector.from_pretrained(detector).predict(images / "cat")
    rows = (
        [json.loads(line) for line in text.splitlines()]
        if form == "jsonl"
        else list(csv.DictReader(io.StringIO(text)))
    )
    for row, one in zip(rows, found, strict=True):
        assert [row[f"class_{n}"] for n in (1, 2, 3)] == [m.name for m in one.why.classes]
        assert [float(row[f"negative_{n}_cosine"]) for n in (1, 2, 3)] == [
            m.cosine for m in one.why.negatives
        ]
        assert row["image_class"] in (None, "")
        assert np.float32(row["score"]) == np.float32(one.score)
    plain = done(*words).out
    assert "class_1" not in plain


def test_a_table_has_no_room_for_it(refused, detector, images):
    line = refused("score", detector, images, "--explain")
    assert "--explain needs --format jsonl or csv; or use `synood explain`" in line


def test_a_bad_file_is_named_in_its_place(detector, images, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG but not really")
    good = str(images / "cat" / "0.png")
    assert main(["explain", str(detector), good, str(tmp_path / "broken.png")]) == 2
    captured = capsys.readouterr()
    assert "error: " in captured.out
    assert "nearest classes" in captured.out
    assert "1 of 2 images have no score" in captured.err
    words = ["score", str(detector), good, str(tmp_path), "--explain", "--format", "csv"]
    assert main(words) == 2
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert sorted(bool(row["class_1"]) for row in rows) == [False, True]
