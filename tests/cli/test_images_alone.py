"""Commands with an encoder of images alone: what works, and what is refused by name."""

from __future__ import annotations

import json

import pytest

from bundling import CLASSES
from small_run import make_pictures
from tiny_vision import tiny_vision


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return f"photo+encoder={tiny_vision(tmp_path_factory.mktemp('models') / 'dino', 'dinov3_vit')}"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("data") / "photos", count=10)


@pytest.fixture(scope="module")
def run(in_process, models, photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    made = in_process("fit", photos, "--out", out, "--models", models)
    assert made.returncode == 0, made.stderr
    assert "reads no texts: the score is what the images of the classes look like" in made.stderr
    assert "3 classes, no texts" in made.stdout
    return out


def test_show_score_explain_evaluate_and_calibrate(done, run, photos, others, tmp_path):
    detector = run / "detector"
    text = done("show", detector).out
    assert "negatives  none: it has no texts, and judges by images alone" in text
    found = json.loads(done("show", detector, "--json").out)
    assert found["has_texts"] is False
    assert found["encoder"]["present"]
    rows = [
        json.loads(line)
        for line in done("score", detector, others, "--format", "jsonl").out.splitlines()
    ]
    assert {row["label"] for row in rows} <= set(CLASSES)
    told = done("explain", detector, others).out
    assert "nearest class by images" in told
    assert "nearest class names" not in told
    made = done(
        "evaluate", detector, "--id", photos, "--ood", f"far={others}", "--out", tmp_path / "r.json"
    )
    assert "far" in made.out
    again = done("calibrate", detector, "--id", photos, "--out", tmp_path / "calibrated")
    assert "threshold" in again.out


def test_status_of_the_run(done, run):
    assert "done" in done("status", run).out


def test_class_names_alone_are_refused(refused, models, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\n")
    for command in ("zero-shot", "mine"):
        told = refused(
            command, "--classes", names, "--out", tmp_path / "out.txt", "--models", models
        )
        assert "reads images alone" in told
        assert "`synood fit`" in told
    assert not (tmp_path / "out.txt").exists()


def test_a_recipe_of_texts_is_refused(refused, models, photos, tmp_path):
    told = refused(
        "fit", photos, "--out", tmp_path / "run", "--models", models, "--recipe", "paper"
    )
    assert "scores by texts" in told


def test_the_tables_of_texts_are_refused_before_an_image_is_encoded(refused, models, tmp_path):
    words = ("--out", tmp_path / "out", "--models", models, "--benchmark", "mini")
    told = refused("reproduce", "table-1", *words)
    assert "reads images alone" in told
    assert not (tmp_path / "out" / "features").exists()
