"""`synood score`: how verdicts are written, and when it fails."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bundling import CLASSES
from small_run import make_pictures
from synood import OODDetector
from synood.cli import main
from synood.detector import Prediction
from synood.detector.calibration import benjamini_hochberg
from synood.detector.rows import cleanvision_row
from synood.errors import CheckpointError


def test_verdicts_as_table_csv_and_file(detector, images, tmp_path, capsys):
    assert main(["score", str(detector), str(images / "cat")]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["verdict", "p-value", "score", "nearest", "class", "image"]
    assert len(table) == 6

    out = tmp_path / "verdicts.csv"
    words = ["score", str(detector), str(images / "cat"), "--format", "csv", "--out", str(out)]
    assert main(words) == 0
    assert capsys.readouterr().out == ""
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    threshold = OODDetector.from_pretrained(detector).threshold
    for row, line in zip(rows, table[1:], strict=True):
        assert row["is_ood"] == str(np.float32(row["score"]) < np.float32(threshold)).lower()
        assert line.split()[1:3] == [f"{float(row['p_value']):.4f}", f"{float(row['score']):.2f}"]
        assert ("OOD" in line) == (row["is_ood"] == "true")


def test_the_columns_of_cleanvision_join_its_table_and_sort_the_worst_first(
    detector, images, tmp_path, capsys, refused, bundle
):
    pandas = pytest.importorskip("pandas")
    (tmp_path / "broken.png").write_bytes(b"no image")
    words = ["score", str(detector), str(images), str(tmp_path / "broken.png"), "--format"]
    assert main([*words, "cleanvision"]) == 2  # the broken one has a row as well
    found = pandas.read_csv(io.StringIO(capsys.readouterr().out), index_col="path")
    assert main([*words, "jsonl"]) == 2
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [*found.columns] == ["is_ood_issue", "ood_score"]
    assert [*found.index] == [row["path"] for row in rows]
    broken = found.loc[str(tmp_path / "broken.png")]
    assert broken.isna().all()
    read = found.drop(broken.name).astype({"is_ood_issue": bool})
    good = [row for row in rows if row["score"] is not None]
    assert read.is_ood_issue.tolist() == [row["is_ood"] for row in good]
    log_odds = np.log(read.ood_score / (1 - read.ood_score))
    np.testing.assert_allclose(log_odds, [row["score"] for row in good], rtol=1e-6, atol=1e-8)
    assert "--explain needs --format" in refused(*words, "cleanvision", "--explain")
    OODDetector.from_classes(CLASSES, models=bundle, share=0.9).save_pretrained(tmp_path / "d")
    line = refused("score", tmp_path / "d", images, "--format", "cleanvision")
    assert "has no threshold yet" in line


@pytest.mark.parametrize("score", [-800.0, -300.0, -40.0, 0.0, 40.0, 800.0])
def test_a_share_is_one_of_any_score(score):
    found = cleanvision_row(Prediction(score, None, "cat"))["ood_score"]
    assert 0 <= found <= 1
    assert (found > 0) == (score > -745)


def test_p_values_are_those_of_the_calibration_images(detector, images, capsys):
    loaded = OODDetector.from_pretrained(detector)
    assert main(["score", str(detector), str(images), "--format", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    known = loaded.calibration.scores.tolist()
    for row in rows:
        below = sum(value <= np.float32(row["score"]) for value in known)
        assert row["p_value"] == pytest.approx((1 + below) / (1 + len(known)))
        assert row["is_ood"] == (row["p_value"] <= 0.5)


def test_a_detector_without_calibration_has_no_p_values(done, refused, bundle, images, tmp_path):
    OODDetector.from_classes(CLASSES, models=bundle, share=0.9).save_pretrained(tmp_path / "d")
    printed = done("score", tmp_path / "d", images)
    assert all(line.split()[:2] == ["-", "-"] for line in printed.out.splitlines()[1:])
    line = refused("score", tmp_path / "d", images, "--fdr", "0.05")
    assert "keeps no calibration scores" in line
    assert "`synood calibrate` adds them" in line


def test_verdicts_by_false_discovery_rate(
    done, refused, detector, bundle, images, others, tmp_path
):
    loaded = OODDetector.from_pretrained(detector)
    words = ("score", detector, images, others, "--format", "jsonl", "--fdr", "0.4")
    rows = [json.loads(line) for line in done(*words).out.splitlines()]
    assert len(rows) > len(loaded.score(images))
    expected = benjamini_hochberg([row["p_value"] for row in rows], 0.4)
    assert [row["is_ood"] for row in rows] == expected.tolist()
    assert refused("score", detector, images, "--fdr", "0.05").endswith(
        "it can find nothing at --fdr 0.05; 19 images or more are needed"
    )
    assert "0.05, not 5" in refused("score", detector, images, "--fdr", "5")


def test_fail_on_ood_follows_the_false_discovery_rate(detector, images, tmp_path, capsys):
    """One image alone has a p-value of 1/16 at least: found at 0.1, where no other hides it."""
    scores = OODDetector.from_pretrained(detector).score(images)
    paths = sorted(path for path in images.rglob("*.png"))
    low, high = str(paths[int(scores.argmin())]), str(paths[int(scores.argmax())])
    far = ["score", str(detector), low, "--fail-on-ood", "--fdr"]
    p_value = 2 / 16  # it is itself among the 15 calibration images
    assert main([*far, str(p_value)]) == 3
    assert main([*far, str(p_value - 0.01)]) == 0
    assert main([*far[:3], high, *far[3:], str(p_value)]) == 0  # 2/16 of two images is too much
    capsys.readouterr()
    assert main([*far[:3], high, *far[3:], "0.07"]) == 0
    assert "finds OOD images among 2 at --fdr 0.07 only if 2 or more" in capsys.readouterr().err


def test_exit_code_3_only_where_ood_is_found_and_asked_for(detector, images, tmp_path):
    scores = OODDetector.from_pretrained(detector).score(images)
    paths = sorted(path for path in images.rglob("*.png"))
    low, high = str(paths[int(scores.argmin())]), str(paths[int(scores.argmax())])
    assert main(["score", str(detector), low, high, "--fail-on-ood"]) == 3
    assert main(["score", str(detector), high, "--fail-on-ood"]) == 0
    assert main(["score", str(detector), low]) == 0


def test_only_the_verdicts_go_to_standard_output(in_process, detector, images):
    result = in_process("score", detector, images / "cat", "--format", "jsonl")
    assert result.returncode == 0
    assert [json.loads(line)["label"] for line in result.stdout.splitlines()]
    assert "score 5/5" in result.stderr


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "negatives.txt"])
def test_detector_with_a_missing_or_altered_file(refused, detector, images, tmp_path, name):
    copy = Path(shutil.copytree(detector, tmp_path / "copy"))
    (copy / name).unlink()
    assert name in refused("score", copy, images)
    data = (detector / name).read_bytes()
    (copy / name).write_bytes(data[:-2] + b"?" + data[-1:])
    line = refused("score", copy, images)
    assert name in line
    assert refused("calibrate", copy, "--id", images) == line
    assert (copy / name).read_bytes() != data


def test_detector_that_is_not_there(refused, images, tmp_path):
    assert "nothing" in refused("score", tmp_path / "nothing", images)


def test_verdicts_cannot_fail_on_ood_without_a_threshold(refused, bundle, images, tmp_path):
    OODDetector.from_classes(CLASSES, models=bundle, share=0.9).save_pretrained(tmp_path / "d")
    line = refused("score", tmp_path / "d", images, "--fail-on-ood")
    assert "synood calibrate" in line


def test_place_that_cannot_be_written_to(refused, detector, images, tmp_path):
    (tmp_path / "file").write_text("mine")
    line = refused("score", detector, images, "--out", tmp_path / "file" / "verdicts.csv")
    assert str(tmp_path / "file") in line
    assert (tmp_path / "file").read_text() == "mine"


# A run, or something else, in the place of a detector


@pytest.fixture
def run(detector, tmp_path):
    """A run directory with a detector in it."""
    shutil.copytree(detector, tmp_path / "run" / "detector")
    (tmp_path / "run" / "run.toml").write_text("schema = 1")
    return tmp_path / "run"


def test_a_run_is_told_from_its_detector(refused, run, images):
    made = run / "detector"
    assert f"is a run, not a detector; use {made}" in refused("score", run, images)
    with pytest.raises(CheckpointError, match="is a run, not a detector"):
        OODDetector.from_pretrained(run)


@pytest.mark.parametrize("name", [".", "detector"])
def test_an_unfinished_run_names_status_and_fit(refused, run, images, name):
    shutil.rmtree(run / "detector")
    line = refused("score", run / name, images)
    assert f"`synood status {run}`" in line
    assert "`synood fit`" in line
    with pytest.raises(CheckpointError, match="synood status"):
        OODDetector.from_pretrained(run / name)


def test_what_is_no_detector_is_named(refused, images, tmp_path):
    assert "is a file, not the directory" in refused("score", images / "cat" / "0.png", images)
    assert "no such directory" in refused("score", tmp_path / "nowhere", images)
    assert "holds no detector; give one that" in refused("score", images, images)


@pytest.mark.parametrize("name", ["ood.jfif", "ood", "ood.txt", "ood\n\x1b[31m.png"])
def test_an_ood_image_fails_the_gate_whatever_its_name(detector, images, tmp_path, capsys, name):
    scores = OODDetector.from_pretrained(detector).score(images)
    paths = sorted(images.rglob("*.png"))
    (tmp_path / "new").mkdir()
    shutil.copy(paths[int(scores.argmin())], tmp_path / "new" / name)
    shutil.copy(paths[int(scores.argmax())], tmp_path / "new" / "in.png")

    assert main(["score", str(detector), str(tmp_path / "new"), "--fail-on-ood"]) == 3
    table = capsys.readouterr().out
    assert len(table.splitlines()) == 3
    assert "\x1b" not in table


def test_an_image_of_a_kind_that_is_not_read_has_its_reason_in_its_row(
    detector, images, tmp_path, capsys
):
    new = Path(shutil.copytree(images / "cat", tmp_path / "new"))
    (new / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    (new / "notes.txt").write_text("no image")

    assert main(["score", str(detector), str(new), "--format", "jsonl"]) == 2
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (error,) = [row["error"] for row in rows if row.get("error")]
    assert len(rows) == 6
    assert "phone.heic: HEIC images are not read" in error


# A list file, standard input, a pattern


@pytest.fixture
def listed(images, tmp_path):
    """A list of two images with two bad lines between them."""
    (tmp_path / "broken.png").write_bytes(b"\x89PNG but not really")
    good = [str(images / "dog" / "0.png"), str(images / "cat" / "3.png")]
    lines = [good[0], "broken.png", "nowhere.png", good[1]]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    return tmp_path / "list.txt"


def test_a_bad_line_of_a_list_has_its_reason_and_stops_nothing(detector, listed, capsys):
    assert main(["score", str(detector), str(listed), "--format", "jsonl"]) == 2
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(row["path"]).name for row in rows] == [
        "0.png",
        "broken.png",
        "nowhere.png",
        "3.png",
    ]
    assert [row["score"] is None for row in rows] == [False, True, True, False]
    assert "nowhere.png: cannot be read (No such file" in rows[2]["error"]
    assert main(["score", str(detector), str(listed), "--fail-on-ood"]) in (2, 3)


def test_a_pattern_and_standard_input_score_as_files_do(in_process, detector, images):
    files = sorted((images / "cat").glob("*.png"))
    expected = in_process("score", detector, *files, "--format", "csv").stdout
    pattern = in_process("score", detector, f"{images}/**/cat/*.png", "--format", "csv")
    assert pattern.stdout == expected
    listed = "".join(f"{file}\n" for file in files)
    piped = in_process("score", detector, "-", "--format", "csv", input=listed)
    assert piped.returncode == 0
    assert piped.stdout == expected


def test_nothing_on_standard_input_is_refused(in_process, detector):
    result = in_process("score", detector, "-", input="")
    assert result.returncode == 2
    assert result.stderr == "synood: standard input: lists no images; write one path on each line\n"


def test_images_of_another_kind_are_warned_of(done, bundle, tmp_path):
    """Thirty images calibrate; the same ones score alike, and those of full contrast do not."""
    images = make_pictures(tmp_path / "images", count=10)
    far = make_pictures(tmp_path / "far", classes=("far",), count=12, seed=3)
    made = OODDetector.from_classes(CLASSES, models=bundle, share=0.9)
    kept = made.calibrate(np.arange(1000.0, 1030.0))  # as no image scores
    kept.save_pretrained(tmp_path / "detector")
    printed = done("score", tmp_path / "detector", images)
    assert "these 30 images score lower than the 30 calibration images" in printed.err
    assert "0.0 % of them are above the threshold for 95 %" in printed.err
    words = ("evaluate", tmp_path / "detector", "--id", images, "--ood", f"far={far}")
    assert ". They are of another kind" in done(*words).err

    made.calibrate(images).save_pretrained(tmp_path / "own")
    assert "score lower" not in done("score", tmp_path / "own", images).err
    assert "another kind" not in done("evaluate", tmp_path / "own", *words[2:]).err
