"""`synood show`: what a detector is, as text and as JSON."""

import json
import shutil

import numpy as np

from bundling import CLASSES, tiny_bundle
from synood import OODDetector


def test_show_says_what_the_detector_is(done, detector, monkeypatch):
    monkeypatch.setattr("synood.models.bundles.Bundle.encoder", lambda *_: 1 / 0)  # loads nothing
    loaded = OODDetector.from_pretrained(detector)
    text = done("show", detector).out
    for line in (
        "classes    3: cat, dog, tree",
        f"negatives  {len(loaded.negative_prompts)}, such as",
        "keeps 53.3 % of 15 in-distribution images",
        "recipe zero-shot",
    ):
        assert line in text
    found = json.loads(done("show", detector, "--json").out)
    assert found["classes"] == list(CLASSES)
    assert found["negative_labels"]["count"] == len(loaded.negative_prompts)
    assert set(found["negative_labels"]["examples"]) <= set(loaded.negative_prompts)
    assert found["threshold"] == loaded.threshold
    assert found["calibration"]["images"] == 15
    assert found["encoder"]["fingerprint"] == loaded.backbone.fingerprint
    assert found["encoder"]["features"] == loaded.class_features.shape[1]
    assert found["encoder"]["present"]
    assert found["files"]["negatives.txt"] == (detector / "negatives.txt").stat().st_size


def test_an_encoder_that_is_gone_is_said_to_be(done, tmp_path):
    bundle = tiny_bundle(tmp_path / "bundle")
    made = OODDetector.from_classes(CLASSES, models=bundle, share=0.9)
    made.save_pretrained(tmp_path / "detector")
    shutil.rmtree(bundle)
    assert "not on this machine" in done("show", tmp_path / "detector").out
    assert "no threshold yet" in done("show", tmp_path / "detector").out
    found = json.loads(done("show", tmp_path / "detector", "--json").out)
    assert found["encoder"]["present"] is False
    assert found["threshold"] is None


def test_what_is_no_detector_is_refused(refused, images):
    assert "holds no detector" in refused("show", images)


def test_a_detector_of_features_has_no_encoder_and_says_so(done, refused, images, tmp_path):
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(60, 8)), np.repeat([0, 1, 2], 20)
    features[np.arange(60), labels] += 6
    made = OODDetector.from_features(features.astype(np.float32), labels, list(CLASSES))
    made.save_pretrained(tmp_path / "d")
    text = done("show", tmp_path / "d").out
    assert "encoder    none: the detector was made from features" in text
    assert "negatives  none" in text
    assert "equation 2" not in text
    for command in (("explain", images), ("evaluate", "--id", images, "--ood", f"far={images}")):
        assert "has no encoder for images" in refused(command[0], tmp_path / "d", *command[1:])
