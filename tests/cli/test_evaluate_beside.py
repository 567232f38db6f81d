"""`synood evaluate`: a detector beside baselines, other detectors and scores of other tools."""

import shutil

import numpy as np
import pytest

from small_run import QUICK
from synood import OODDetector
from synood.benchmark.results.results import read_results


@pytest.mark.numerical
def test_baselines_are_those_of_their_definitions(measured, detector, images, others):
    """Recomputed from `embed` with NumPy alone."""
    results, printed = measured("--baselines", "--train", images)
    rows = {row.method: row for row in results.rows}
    assert set(rows) == {
        "nearest-image",
        "class-mean",
        "mahalanobis-plus",
        "linear-head",
        "mcm",
        "neglabel",
    }
    loaded = OODDetector.from_pretrained(detector)
    inside, outside = (unit(loaded.embed(where)) for where in (images, others))
    train, labels = inside, np.repeat([0, 1, 2], 5)
    means = np.stack([train[labels == k].mean(axis=0) for k in range(3)])
    names = loaded.class_features
    oracles = {
        "nearest-image": lambda rows: (rows @ train.T).max(axis=1),
        "class-mean": lambda rows: (rows @ unit(means).T).max(axis=1),
        "mcm": lambda rows: softmax(rows @ unit(names).T).max(axis=1),
    }
    for name, oracle in oracles.items():
        expected = auroc(oracle(inside), oracle(outside))
        assert rows[name].auroc == pytest.approx(expected, abs=1e-5), name
    assert {item["method"] for item in results.run["comparisons"]} == {"neglabel"}
    assert {item["other"] for item in results.run["comparisons"]} == set(rows) - {"neglabel"}
    assert "Gain of NegLabel in points" in printed.out
    assert "* is the best of a column." in printed.out


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def softmax(rows):
    odds = np.exp(rows - rows.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def auroc(inside, outside):
    higher = (inside[:, None] > outside).mean()
    return higher + 0.5 * (inside[:, None] == outside).mean()


def test_without_training_images_there_are_the_baselines_of_texts(measured):
    results, printed = measured("--baselines")
    assert {row.method for row in results.rows} == {"mcm", "neglabel"}
    assert "the training images are not known" in printed.err
    assert "lies in no run" in printed.err


def test_training_images_of_other_classes_are_warned_of(measured, images, tmp_path):
    shutil.copytree(images / "cat", tmp_path / "train" / "cat")
    results, printed = measured("--baselines", "--train", tmp_path / "train")
    assert "its classes are not those of the detector" in printed.err
    assert "linear-head" not in {row.method for row in results.rows}


def test_a_detector_of_a_run_finds_its_images_and_leaves_its_results_there(
    done, bundle, images, others, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(images, "photos")
    fit = ("fit", "photos", "--models", bundle, "--out", "run", "--batch-size", 2)
    done(*fit, "--set", *QUICK)
    words = ("evaluate", "run/detector", "--id", others, "--ood", f"far={others}", "--baselines")
    assert "results: run/evaluation.json" in done("evaluate", "one=run/detector", *words[2:]).out
    assert "one" in {r.method for r in read_results(tmp_path / "run" / "evaluation.json").rows}
    printed = done(*words)
    assert "results: run/evaluation.json\nnext: synood report run/evaluation.json" in printed.out
    results = read_results(tmp_path / "run" / "evaluation.json")
    assert "nearest-image" in {row.method for row in results.rows}
    assert len(results.run["paintings"]) == 6
    done("report", "run")
    page = (tmp_path / "run" / "evaluation.html").read_text()
    for title in ("1-NN (encoder)", "SynOOD", "NegLabel", "Synthetic images"):
        assert title in page
    shutil.rmtree("photos")
    (tmp_path / "run" / "evaluation.json").unlink()
    (tmp_path / "run" / "evaluation.json").mkdir()
    printed = done(*words)
    assert "is a directory; name a file to write; the results are printed and not" in printed.err
    assert "results:" not in printed.out
    (tmp_path / "run" / "evaluation.json").rmdir()
    printed = done(*words)
    assert "is no longer there" in printed.err
    assert "nearest-image" not in {
        r.method for r in read_results(tmp_path / "run" / "evaluation.json").rows
    }


@pytest.mark.numerical
def test_several_detectors_are_measured_on_the_same_images(
    done, refused, detector, bundle, images, others, tmp_path
):
    second = tmp_path / "second"
    OODDetector.from_classes(["far", "cat"], models=bundle, share=0.9).save_pretrained(second)
    out = tmp_path / "r.json"
    known = ("--id", images, "--ood", f"far={others}", "--out", out, "--overwrite")
    done("evaluate", detector, f"new={second}", *known)
    rows = read_results(out).rows
    assert [row.method for row in rows] == ["half", "new"]
    for row, path in zip(rows, (detector, second), strict=True):
        loaded = OODDetector.from_pretrained(path)
        inside, outside = loaded.score(images), loaded.score(others)
        assert row.auroc == pytest.approx(auroc(inside, outside), abs=1e-6)
    assert {item["method"] for item in read_results(out).run["comparisons"]} == {"half"}
    line = refused("evaluate", detector, detector, *known)
    assert "two detectors are called 'half'; name them, as in first=" in line


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_scores_of_another_tool_come_from_a_file(
    measured, done, detector, images, others, tmp_path, form
):
    file = tmp_path / f"other.{form}"
    both = (images, others, "--format", form, "--out", file)
    done("score", detector, *both)
    results, _ = measured("--scores", f"other={file}", "--anomaly-scores", f"turned={file}")
    rows = {row.method: row for row in results.rows}
    assert rows["other"].auroc == rows["neglabel"].auroc
    assert rows["turned"].auroc == pytest.approx(1 - rows["neglabel"].auroc, abs=1e-6)
    gains = [item["gain"] for item in results.run["comparisons"] if item["other"] == "other"]
    assert gains
    assert not any(gains)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("image,score\na.png,1\n", "row 1: needs `path` and `score`, it has image, score"),
        ("path,score\na.png,high\n", "row 1: the score 'high' is not a number"),
        ("path,score\na.png,nan\n", "row 1: the score 'nan' is not finite"),
        (
            "path,score\na.png,1\n",
            "has no score for 15 of the 15 images of in-distribution, such as",
        ),
        ("path,score\n", "holds no rows"),
    ],
)
def test_scores_that_do_not_fit_are_refused(
    refused, detector, images, others, tmp_path, text, sentence
):
    (tmp_path / "other.csv").write_text(text)
    known = ("--id", images, "--ood", f"far={others}")
    words = ("--scores", f"other={tmp_path / 'other.csv'}")
    assert sentence in refused("evaluate", detector, *known, *words)
    assert "as NAME=FILE" in refused("evaluate", detector, *known, "--scores", tmp_path)
