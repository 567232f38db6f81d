"""`synood drift`: files of `score` in, tests and verdicts out."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from scipy.stats import ks_2samp

from apart_world import around, other_looks, write_features, write_training
from synood import OODDetector
from synood.cli import main
from synood.detector.watching import population_stability

pytestmark = pytest.mark.numerical


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A calibrated detector `d`, one as `fit` left it in `run`, and files of what `d` scored."""
    root = tmp_path_factory.mktemp("made")

    def act(*words):
        assert main([str(word) for word in words]) == 0

    training = write_training(root / "training.safetensors")
    act("fit", "--features", training, "--out", root / "run")
    new = write_features(root / "new.safetensors", around(1)[0])
    act("calibrate", root / "run" / "detector", "--features", new, "--out", root / "d")
    windows = {
        "same": around(2, 100)[0],
        "other": other_looks(3),
        "far": around(4, 60, less=1.0)[0],
        "one": around(5, 1)[0][:1],
    }
    for name, rows in windows.items():
        file = write_features(root / f"{name}.safetensors", rows)
        for form in ("jsonl", "csv"):
            out = ("--format", form, "--out", root / f"{name}.{form}")
            act("score", root / "d", "--features", file, *out)
    return root


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_numbers_are_those_of_the_rows(done, made):
    printed = done("drift", made / "d", "--window", made / "other.jsonl", "--format", "json").out
    found = json.loads(printed)
    rows = rows_of(made / "other.jsonl")
    kept = OODDetector.from_pretrained(made / "d").calibration
    for name, known in (("score", kept.scores), ("image_evidence", kept.image_evidence)):
        state = found["windows"][name]
        new = np.array([row[name] for row in rows], np.float32)
        expected = ks_2samp(known, new, method="asymp")
        assert state["distance"] == pytest.approx(expected.statistic)
        assert state["psi"] == pytest.approx(population_stability(known, new)[0])
        assert state["threshold"] == 0.0025
        assert state["is_drift"] == (state["p_val"] < 0.0025)
        assert found["streams"][name]["images"] == 300
    assert found["is_drift"]
    assert found["windows"]["image_evidence"]["is_drift"]
    assert not found["windows"]["score"]["is_drift"]
    for label in {row["label"] for row in rows}:
        own = [row["is_ood"] for row in rows if row["label"] == label]
        count = found["verdicts"]["window"][label]
        assert count == {"images": len(own), "judged": len(own), "ood": sum(own)}
    assert found["totals"]["reference"]["images"] == kept.images
    assert found["totals"]["reference"]["ood"] == int((kept.scores < kept.threshold).sum())


def test_images_of_the_same_kind_are_no_drift_and_others_are(done, made):
    same = done("drift", made / "d", "--window", made / "same.jsonl").out
    assert same.endswith("no drift found (chance of a false alarm by any of these tests: 1 %)\n")
    assert "drift:" not in same
    far = done("drift", made / "d", "--window", made / "far.jsonl").out
    assert "\ndrift (chance" in far
    assert far.count("drift: lower") == 2
    assert far.count("drift: alarm at image") == 2


def test_csv_is_as_good_as_jsonl_and_a_reference_as_the_calibration(done, made):
    words = ("drift", made / "d", "--format", "json")
    tables = [
        json.loads(
            done(*words, "--window", made / f"far.{one}", "--reference", made / f"same.{two}").out
        )
        for one, two in (("jsonl", "csv"), ("csv", "jsonl"))
    ]
    for table in tables:
        for side in ("window", "reference"):
            del table[side]["name"]
    assert tables[0] == tables[1]
    assert tables[0]["is_drift"]
    assert tables[0]["verdicts"]["reference"]
    own = json.loads(
        done(*words, "--window", made / "same.csv", "--reference", made / "same.jsonl").out
    )
    assert not own["is_drift"]
    assert [state["distance"] for state in own["windows"].values()] == [0.0, 0.0]


def test_the_exit_code_is_3_only_where_it_is_asked_for_and_found(made, capsys):
    words = ["drift", str(made / "d"), "--window"]
    assert main([*words, str(made / "far.jsonl")]) == 0
    assert main([*words, str(made / "far.jsonl"), "--fail-on-drift"]) == 3
    assert main([*words, str(made / "same.jsonl"), "--fail-on-drift"]) == 0
    capsys.readouterr()


def test_one_image_is_compared_and_said_to_say_little(done, made):
    printed = done("drift", made / "d", "--window", made / "one.jsonl")
    assert "warning: window: 1 image can tell little; give 20 or more" in printed.err
    assert "no drift found" in printed.out
    words = ("--window", made / "same.jsonl", "--reference", made / "one.csv")
    assert "reference: 1 image can" in done("drift", made / "d", *words).err


def test_a_calibration_fold_by_fold_is_no_reason_to_tell_of_higher_images(done, made, tmp_path):
    rows = rows_of(made / "same.jsonl")
    higher = [{**row, "score": row["score"] + 30} for row in rows]
    (tmp_path / "higher").write_text("".join(json.dumps(row) + "\n" for row in higher))
    words = ("--window", tmp_path / "higher", "--format", "json")
    assert not json.loads(done("drift", made / "run" / "detector", *words).out)["is_drift"]
    assert json.loads(done("drift", made / "d", *words).out)["is_drift"]


def test_files_without_image_evidence_are_compared_by_score(done, made, tmp_path):
    rows = [{"score": row["score"]} for row in rows_of(made / "same.jsonl")]
    (tmp_path / "plain").write_text("".join(json.dumps(row) + "\n" for row in rows))
    printed = done("drift", made / "d", "--window", tmp_path / "plain")
    assert "image evidence is not compared: the window has none" in printed.err
    assert "0.005" in printed.out
    assert "image evidence" not in printed.out


def test_rows_with_errors_are_counted_and_bad_ones_refused(done, refused, made, tmp_path):
    lines = (made / "same.jsonl").read_text().splitlines()
    error = '{"path": "a.jpg", "score": null, "error": "a.jpg: is empty"}'
    (tmp_path / "some").write_text("\n".join([error, *lines]) + "\n")
    assert (
        "300 images and 1 without a score"
        in done("drift", made / "d", "--window", tmp_path / "some").out
    )
    (tmp_path / "bad").write_text("\n".join([*lines, '{"score": "x"}']) + "\n")
    line = refused("drift", made / "d", "--window", tmp_path / "bad")
    assert f"{tmp_path / 'bad'}, line 301: `score` is" in line
    line = refused("drift", made / "d", "--window", made / "d")
    assert "is not a regular file" in line


def test_what_cannot_be_compared_is_refused(refused, made, tmp_path):
    window = ("--window", made / "same.jsonl")
    assert "no such directory" in refused("drift", tmp_path / "nowhere", *window)
    assert "no such file" in refused("drift", made / "d", "--window", tmp_path / "nothing")
    assert "level: must be between 0 and 1" in refused("drift", made / "d", *window, "--level", "5")
    assert "--window" in refused("drift", made / "d")
    plain = OODDetector.from_pretrained(made / "d")
    plain = plain.calibrate([*range(30)])
    object.__setattr__(plain, "calibration", None)
    plain.save_pretrained(tmp_path / "uncalibrated")
    line = refused("drift", tmp_path / "uncalibrated", *window)
    assert "keeps no calibration scores" in line
    assert "give --reference" in line
    names = ("--window", made / "same.jsonl", "--reference", made / "same.jsonl")
    assert main(["drift", str(tmp_path / "uncalibrated"), *map(str, names)]) == 0


def test_results_go_to_a_file_that_is_not_replaced_unasked(done, refused, made, tmp_path):
    words = ("drift", made / "d", "--window", made / "same.jsonl", "--format", "json")
    out = tmp_path / "drift.json"
    assert done(*words, "--out", out).out == ""
    assert json.loads(out.read_text())["is_drift"] is False
    assert "exists already" in refused(*words, "--out", out)
    done(*words, "--out", out, "--overwrite")
    copy = shutil.copy(made / "same.jsonl", tmp_path / "window")
    line = refused("drift", made / "d", "--window", copy, "--out", copy, "--overwrite")
    assert "is read by this command" in line


def test_class_names_of_any_characters_are_printed_in_one_line(done, tmp_path, made):
    rows, labels = around(0)
    odd = OODDetector.from_features(rows, labels, ["a c", "naïve “x”", "日本"])
    odd.save_pretrained(tmp_path / "odd")
    file = write_features(tmp_path / "f.safetensors", around(1)[0])
    done("score", tmp_path / "odd", "--features", file, "--format", "csv", "--out", tmp_path / "w")
    printed = done("drift", tmp_path / "odd", "--window", tmp_path / "w").out
    assert "日本" in printed


def test_it_runs_as_a_command_of_its_own(in_process, made):
    result = in_process("drift", made / "d", "--window", made / "far.csv", "--fail-on-drift")
    assert result.returncode == 3, result.stderr
    assert result.stderr == ""
