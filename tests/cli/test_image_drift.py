"""Images whose look alone has changed: what `score` writes of it and warns of."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from apart_world import around, other_looks, write_features, write_training
from bundling import CLASSES
from small_run import make_pictures
from synood import OODDetector
from synood.cli import main
from synood.detector.evidence import ImageEvidence
from synood.settings import PLUS_EVIDENCE

pytestmark = pytest.mark.numerical


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The detector of `fit --features`, calibrated with `calibrate --features`."""
    root = tmp_path_factory.mktemp("made")
    training = write_training(root / "training.safetensors")
    new = write_features(root / "new.safetensors", around(1)[0])
    assert main(["fit", "--features", str(training), "--out", str(root / "run")]) == 0
    words = ["--features", str(new), "--out", str(root / "own")]
    assert main(["calibrate", str(root / "run" / "detector"), *words]) == 0
    return root / "own"


def test_rows_have_what_images_alone_say(done, made, tmp_path):
    rows = write_features(tmp_path / "rows.safetensors", around(2, 2)[0])
    lines = done("score", made, "--features", rows, "--format", "jsonl").out.splitlines()
    found = [json.loads(line) for line in lines]
    loaded = OODDetector.from_pretrained(made)
    expected = [one.image_evidence for one in loaded.predict_features(around(2, 2)[0])]
    assert [np.float32(row["image_evidence"]) for row in found] == pytest.approx(expected, abs=1e-5)
    table = done("score", made, "--features", rows, "--format", "csv").out
    rows = [*csv.DictReader(io.StringIO(table))]
    assert [float(row["image_evidence"]) for row in rows] == [
        row["image_evidence"] for row in found
    ]


def test_a_shift_of_the_look_alone_is_warned_of(done, made, tmp_path):
    same = write_features(tmp_path / "same.safetensors", around(3, 100)[0])
    other = write_features(tmp_path / "other.safetensors", other_looks(3))
    assert "warning" not in done("score", made, "--features", same).err
    printed = done("score", made, "--features", other)
    assert "warning: these 300 images look unlike the 180 calibration images" in printed.err
    assert "significant below 0.005" in printed.err


def test_a_detector_of_names_has_an_empty_column(done, detector, images):
    rows = [
        json.loads(line)
        for line in done("score", detector, images, "--format", "jsonl").out.splitlines()
    ]
    assert {row["image_evidence"] for row in rows} == {None}


def test_score_and_evaluate_test_the_look_of_images(done, bundle, tmp_path):
    """The same thirty images are alike, until the calibration has kept another look of them."""
    images = make_pictures(tmp_path / "images", count=10)
    far = make_pictures(tmp_path / "far", classes=("far",), count=12, seed=3)
    named = OODDetector.from_classes(CLASSES, models=bundle, share=0.9)
    rows = named.embed(images)
    evidence = ImageEvidence.fit(
        rows, np.repeat([0, 1, 2], 10), 3, text=named.score_features(rows), settings=PLUS_EVIDENCE
    )
    made = replace(named, image_evidence=evidence).calibrate(images)
    made.save_pretrained(tmp_path / "own")
    looks = made.calibration.image_evidence + 1000
    kept = replace(made, calibration=replace(made.calibration, image_evidence=looks))
    kept.save_pretrained(tmp_path / "other")
    words = ("--id", images, "--ood", f"far={far}")
    for command in (("score", "{}", images), ("evaluate", "{}", *words)):
        own, other = (
            done(*(str(word).format(tmp_path / name) for word in command)).err
            for name in ("own", "other")
        )
        assert "look unlike" not in own
        assert "images look unlike the 30 calibration images" in other
