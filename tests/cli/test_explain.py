"""`synood explain`, and the same as columns of `synood score`."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from synood import OODDetector
from synood.benchmark.results.results import read_results
from synood.cli import main
from synood.detector.evidence import ImageEvidence


def test_explain_says_verdict_classes_and_labels(done, detector, images):
    text = done("explain", detector, images / "cat").out
    found = OODDetector.from_pretrained(detector).predict(images / "cat")
    blocks = text.split("\n\n")
    assert len(blocks) == len(found) == 5
    for block, one in zip(blocks, found, strict=True):
        first, label, classes, negatives = block.splitlines()
        assert first.startswith(f"{one.path}: {'OOD' if one.is_ood else 'in-distribution'} (")
        assert f"score {one.score:.2f}" in first
        assert label.split() == ["nearest", "class", one.label]
        for line, matches in ((classes, one.why.classes), (negatives, one.why.negatives)):
            assert len(matches) == 3
            for match in matches:
                assert f"{match.name!r} {match.cosine:.3f}" in line


def test_the_threshold_is_that_of_the_predicted_class(done, detector, images, tmp_path):
    """The own threshold of the class lies amid its scores, that of all images far below them."""
    loaded = OODDetector.from_pretrained(detector)
    found = loaded.predict(images)
    label = found[0].label
    assert {one.label for one in found} == {label}
    own = np.array([one.score for one in found])
    known = np.concatenate([own, own - 50])
    labels = [label] * 15 + [next(name for name in loaded.class_names if name != label)] * 15
    made = loaded.calibrate(known, tpr=0.7, per_class=True, labels=labels)
    made.save_pretrained(tmp_path / "own")

    text = done("explain", tmp_path / "own", images).out

    threshold = np.sort(own)[3]  # floor(16 * 0.3) = 4 of the 15: the fourth smallest
    assert made.threshold < threshold - 20
    assert text.count(f", threshold {threshold:.2f})") == 15
    assert text.count(": OOD (") == 3


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
    assert "nearest class names" in captured.out
    assert "1 of 2 images have no score" in captured.err
    words = ["score", str(detector), good, str(tmp_path), "--explain", "--format", "csv"]
    assert main(words) == 2
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert sorted(bool(row["class_1"]) for row in rows) == [False, True]


@pytest.fixture
def with_images(detector, images, tmp_path):
    """The detector with evidence of what its classes' images look like."""
    loaded = OODDetector.from_pretrained(detector)
    labels = np.repeat([0, 1, 2], 5)
    evidence = ImageEvidence.fit(loaded.embed(images), labels, 3)
    out = tmp_path / "with-images"
    replace(loaded, image_evidence=evidence, threshold=None, calibration=None).save_pretrained(out)
    return out


def test_the_nearest_class_by_images_is_said_where_it_is_known(done, with_images, images):
    loaded = OODDetector.from_pretrained(with_images)
    (found,) = loaded.predict([images / "dog" / "2.png"])
    text = done("explain", with_images, images / "dog" / "2.png").out
    assert f"  nearest class by images  {found.why.image_class}\n" in text
    assert "no verdict (no threshold)" in text
    words = ("score", with_images, images / "dog", "--format", "jsonl", "--explain")
    rows = [json.loads(line) for line in done(*words).out.splitlines()]
    assert [row["image_class"] for row in rows] == [
        one.why.image_class for one in loaded.predict(images / "dog")
    ]


def test_evidence_of_images_is_shown_and_makes_a_method_of_its_own(
    done, with_images, images, others, tmp_path
):
    found = json.loads(done("show", with_images, "--json").out)
    assert sum(found["weights"].values()) > 0
    assert "what the images of the classes look like" in done("show", with_images).out
    out = tmp_path / "r.json"
    words = ("--id", images, "--ood", f"far={others}", "--out", out, "--baselines")
    done("evaluate", with_images, *words, "--train", images)
    rows = {row.method: row for row in read_results(out).rows}
    assert {"synood", "neglabel", "mcm", "nearest-image"} <= set(rows)
    plain = replace(OODDetector.from_pretrained(with_images), image_evidence=None)
    inside, outside = plain.score(images), plain.score(others)
    expected = (inside[:, None] > outside).mean()
    assert rows["neglabel"].auroc == pytest.approx(expected, abs=1e-6)
