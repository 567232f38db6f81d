"""Drift that only images tell: found, seldom told wrongly, and kept with the detector."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from apart_world import CLASSES, around, fitted, other_looks
from small_detector import change_config, make_detector
from synood import OODDetector
from synood.detector.calibration import calibrate_threshold
from synood.detector.drift import LEVEL, compare_scores, drift_warning
from synood.detector.prediction import image_evidence_of
from synood.errors import CheckpointError, InputError
from synood.files import sha256_file

pytestmark = pytest.mark.numerical


@pytest.fixture(scope="module")
def cross_fitted():
    return fitted()


@pytest.fixture(scope="module")
def detector(cross_fitted):
    """The same, calibrated on images that it was not made from."""
    found = cross_fitted.predict_features(around(1)[0], explain=False)
    values = [one.score for one in found]
    return cross_fitted.calibrate(values, image_evidence=image_evidence_of(found))


def told(detector, rows):
    found = detector.predict_features(rows, explain=False)
    values = [one.score for one in found]
    return drift_warning(detector.calibration, values, image_evidence_of(found))


def test_image_evidence_is_the_mean_of_the_parts_but_the_text(detector):
    evidence, rows = detector.image_evidence, around(5, 4)[0]
    parts = evidence.parts(rows)
    for row, one in zip(parts, detector.predict_features(rows), strict=True):
        total = weights = 0.0
        for part in (1, 2, 3):
            weight = float(evidence.weights[part])
            value = row[part - 1] - float(evidence.location[part])
            total += weight * value / float(evidence.scale[part])
            weights += weight
        assert one.image_evidence == pytest.approx(total / weights, rel=1e-4, abs=1e-5)


def test_there_is_none_where_the_score_says_it_already():
    rows, labels = around(0)
    of_images = OODDetector.from_features(rows, labels, CLASSES)
    assert of_images.calibration.image_evidence is None
    assert [one.image_evidence for one in of_images.predict_features(rows[:3])] == [None] * 3
    of_names = make_detector().predict_features(np.eye(4, dtype=np.float32))
    assert image_evidence_of(of_names) is None
    assert image_evidence_of([]) is None


def test_two_tests_together_are_wrong_as_seldom_as_one():
    """Scores and image evidence as dependent as they are, and not at all; 3,000 pairs each."""
    rng, made = np.random.default_rng(0), calibrate_threshold(np.arange(120.0))
    for shared in (0.0, 0.8):
        alarms = 0
        for _ in range(3000):
            both = rng.normal(size=(2, 220)).astype(np.float32)
            both[1] = shared * both[0] + math.sqrt(1 - shared**2) * both[1]
            known = np.sort(both[:, :120])
            calibration = replace(made, scores=known[0], image_evidence=known[1])
            alarms += drift_warning(calibration, both[0, 120:], both[1, 120:]) is not None
        assert alarms / 3000 <= LEVEL + 3 * math.sqrt(LEVEL / 3000)


def test_each_of_two_tests_has_half_of_the_level():
    """Between 0.5 % and 1 % a difference is told by the only test there is, not by one of two."""
    known, new = np.arange(200.0), np.arange(200.0) - 33.5
    assert LEVEL / 2 < compare_scores(known, new).p_value < LEVEL
    assert "significant below 0.01" in drift_warning(calibrate_threshold(known), new)
    assert "significant below 0.01" in drift_warning(calibrate_threshold(known), new, known)
    both = calibrate_threshold(known, image_evidence=known)
    assert "significant below 0.01" in drift_warning(both, new)
    assert drift_warning(both, new, new) is None
    assert "significant below 0.005" in drift_warning(both, known - 60, new)


def test_a_shift_that_only_images_tell_is_told():
    values = np.arange(200.0)
    known = calibrate_threshold(values, image_evidence=values)
    sentence = drift_warning(known, values, values - 60)
    assert "look unlike the 200 calibration images, though they score as these do" in sentence
    assert "image evidence lower" in sentence
    assert "image evidence higher" in drift_warning(known, values, values + 60)
    assert drift_warning(known, values, values) is None
    both = drift_warning(known, values - 60, values - 60)
    assert "score lower" in both
    assert both.endswith("They look unlike these too (image evidence lower, p = 3e-08)")
    assert "look unlike" not in drift_warning(known, values - 60, values)


def test_images_of_another_look_are_told_by_their_features(detector):
    rows = other_looks(3)
    found = detector.predict_features(rows, explain=False)
    apart = compare_scores(detector.calibration.scores, [one.score for one in found])
    assert apart.p_value > LEVEL  # the score alone does not see it
    assert "though they score as these do" in told(detector, rows)
    assert told(detector, around(3, 100)[0]) is None


def test_what_cross_fitted_evidence_gives_is_no_reason_to_tell_of_higher_images(cross_fitted):
    calibration = cross_fitted.calibration
    assert calibration.cross_fitted
    assert not cross_fitted.calibrate([*range(30)]).calibration.cross_fitted
    lower, higher = (calibration.scores + shift for shift in (-5, 5))
    assert "score lower" in drift_warning(calibration, lower)
    assert drift_warning(calibration, higher) is None
    looks = calibration.image_evidence
    assert drift_warning(calibration, calibration.scores, looks + 5) is None
    assert "image evidence lower" in drift_warning(calibration, calibration.scores, looks - 5)


def test_held_out_image_evidence_is_that_of_new_images(cross_fitted):
    """On average of the size that new images have, since it comes from folds left out."""
    new = image_evidence_of(cross_fitted.predict_features(around(4, 400)[0], explain=False))
    own = cross_fitted.calibration.image_evidence
    learned = image_evidence_of(cross_fitted.predict_features(around(0)[0], explain=False))
    assert abs(np.mean(new) - np.mean(own)) < 0.5 * abs(np.mean(learned) - np.mean(own))


# On disk


def test_it_comes_back_with_the_detector(cross_fitted, tmp_path):
    cross_fitted.save_pretrained(tmp_path / "d")
    loaded = OODDetector.from_pretrained(tmp_path / "d").calibration
    np.testing.assert_array_equal(loaded.image_evidence, cross_fitted.calibration.image_evidence)
    assert loaded.image_evidence.dtype == np.float32
    assert loaded.cross_fitted


def forged(directory, change):
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors")
    config = json.loads((directory / "config.json").read_text())
    digest = sha256_file(directory / "model.safetensors")
    change_config(directory, files={**config["files"], "model.safetensors": digest})


def test_a_detector_of_before_has_only_its_scores_tested(detector, tmp_path):
    detector.save_pretrained(tmp_path / "d")
    config = json.loads((tmp_path / "d" / "config.json").read_text())
    for name in ("image_evidence", "cross_fitted"):
        del config["calibration"][name]
    change_config(tmp_path / "d", calibration=config["calibration"])
    forged(tmp_path / "d", lambda tensors: tensors.pop("calibration.image_evidence"))
    loaded = OODDetector.from_pretrained(tmp_path / "d")
    assert loaded.calibration.image_evidence is None
    assert told(loaded, other_looks(3)) is None
    assert "significant below 0.01" in told(loaded, around(3, less=1.0)[0])
    np.testing.assert_array_equal(loaded.calibration.scores, detector.calibration.scores)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("calibration.image_evidence"), "image_evidence should be .* nothing"),
        (lambda t: t["calibration.image_evidence"].fill(np.inf), "image_evidence must be 180 asc"),
        (
            lambda t: t.update({"calibration.image_evidence": np.arange(180, 0, -1, np.float32)}),
            "image_evidence must be 180 ascending",
        ),
    ],
)
def test_a_forged_one_is_refused(detector, tmp_path, change, message):
    detector.save_pretrained(tmp_path / "d")
    forged(tmp_path / "d", change)
    with pytest.raises(InputError, match=message):
        OODDetector.from_pretrained(tmp_path / "d")


def test_a_config_with_a_field_of_the_wrong_kind_is_refused(detector, tmp_path):
    detector.save_pretrained(tmp_path / "d")
    config = json.loads((tmp_path / "d" / "config.json").read_text())
    change_config(tmp_path / "d", calibration={**config["calibration"], "image_evidence": 1})
    with pytest.raises(CheckpointError, match="`image_evidence` is 1, of the wrong kind"):
        OODDetector.from_pretrained(tmp_path / "d")


@pytest.mark.parametrize("values", [[1.0], [math.nan] * 30, [[0.0] * 30]])
def test_what_does_not_fit_the_scores_is_refused(values):
    with pytest.raises(InputError, match="image evidence: must be a finite number for each of 30"):
        make_detector().calibrate([*range(30)], image_evidence=values)
