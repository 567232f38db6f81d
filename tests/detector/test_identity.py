"""A detector has the same fingerprints wherever it lies; what a score depends on changes them."""

from dataclasses import replace

import numpy as np
import pytest

from planted import CLASSES, around
from small_detector import make_detector
from synood import OODDetector
from synood.detector.identity import detector_fingerprint, score_fingerprint


def from_images(seed=0):
    labels = np.repeat(np.arange(len(CLASSES)), 30)
    return OODDetector.from_features(around(CLASSES, 30, seed), labels, list(CLASSES))


@pytest.mark.parametrize("make", [make_detector, from_images])
def test_a_detector_that_was_saved_is_the_same_one(make, tmp_path):
    detector = make()
    detector.save_pretrained(tmp_path / "detector")
    loaded = OODDetector.from_pretrained(tmp_path / "detector")
    for of in (score_fingerprint, detector_fingerprint):
        assert of(loaded) == of(detector) == of(make())


def test_what_scores_depend_on_changes_both():
    detector = make_detector()
    turned = detector.negative_features[::-1].copy()
    for other in (
        replace(detector, class_names=("red", "blue")),
        replace(detector, settings=replace(detector.settings, seed=8)),
        replace(detector, negative_features=turned),
        replace(detector, encoder=replace(detector.backbone, fingerprint="another")),
    ):
        assert score_fingerprint(other) != score_fingerprint(detector)
        assert detector_fingerprint(other) != detector_fingerprint(detector)


def test_image_evidence_alone_changes_both():
    detector = from_images()
    assert detector.image_evidence is not None
    weights = detector.image_evidence.weights * np.float32(2)
    other = replace(detector, image_evidence=replace(detector.image_evidence, weights=weights))
    assert score_fingerprint(other) != score_fingerprint(detector)
    assert detector_fingerprint(other) != detector_fingerprint(detector)


def test_a_threshold_changes_verdicts_and_no_score():
    detector = make_detector()
    for other in (replace(detector, threshold=0.1), detector.calibrate(np.linspace(0, 1, 50))):
        assert score_fingerprint(other) == score_fingerprint(detector)
        assert detector_fingerprint(other) != detector_fingerprint(detector)
