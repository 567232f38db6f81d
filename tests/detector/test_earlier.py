"""Detectors of schema 1, whose thresholds are shares in [0, 1], keep their verdicts."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from colours import ColourEncoder, picture
from small_detector import change_config, make_detector
from synood import OODDetector, scores
from synood.benchmark.protocol.predictions import ScoredImage, from_shares
from synood.errors import SynoodWarning

pytestmark = pytest.mark.numerical

CALIBRATED = {
    "threshold": 0.25, "images": 6, "tpr_wanted": 0.95, "tpr_reached": 1.0,
    "tpr_low": 0.6, "tpr_high": 1.0, "warning": None,
}  # fmt: skip


def earlier(path, threshold, calibration=None):
    """Write what a version with schema 1 wrote."""
    make_detector().save_pretrained(path)
    change_config(path, schema=1, threshold=threshold, calibration=calibration)
    return path


@pytest.mark.parametrize("threshold", [5.9e-8, 0.03, 0.5, 0.987654, 0.9999999])
def test_a_threshold_is_converted_and_every_verdict_stays(tmp_path, threshold):
    calibrated = {**CALIBRATED, "threshold": threshold}
    loaded = OODDetector.from_pretrained(earlier(tmp_path / "d", threshold, calibrated))
    assert loaded.threshold == loaded.calibration.threshold
    assert loaded.calibration.images == 6
    shares = np.linspace(0.001, 0.999, 500)
    odds = np.log(shares / (1 - shares))
    np.testing.assert_array_equal(odds < loaded.threshold, shares < threshold)
    images = [picture(colour, noise=seed) for colour in ("red", "blue") for seed in range(1, 9)]
    for found in loaded.predict_features(ColourEncoder().encode_images(images)):
        assert found.is_ood == (scores.share([found.score])[0] < threshold)


@pytest.mark.parametrize("threshold", [1.0, 0.0, 1.5, -0.5])
def test_a_threshold_without_log_odds_is_dropped_and_said(tmp_path, threshold):
    directory = earlier(tmp_path / "d", threshold, {**CALIBRATED, "threshold": threshold})
    with pytest.warns(SynoodWarning, match=f"the threshold {threshold:g} of an earlier version"):
        loaded = OODDetector.from_pretrained(directory)
    assert loaded.threshold is None
    assert loaded.calibration is None
    assert "was dropped" in loaded.notes[-1]
    features = ColourEncoder().encode_images([picture("red")])
    assert loaded.predict_features(features)[0].is_ood is None

    loaded.save_pretrained(directory)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = OODDetector.from_pretrained(directory)
    assert json.loads((directory / "config.json").read_text())["schema"] == 2
    assert again.notes == loaded.notes


def test_a_detector_without_a_threshold_stays_so(tmp_path):
    assert OODDetector.from_pretrained(earlier(tmp_path / "d", None)).threshold is None


def test_predictions_of_an_earlier_demo_become_log_odds():
    shares = [0.0, 0.2, 0.9, 1.0]
    images = [ScoredImage("s", "id", f"{n}.png", s, "cat", "car") for n, s in enumerate(shares)]
    found, threshold = from_shares(images, 0.9)
    values = [one.score for one in found]
    assert np.isfinite(values).all()
    assert values[1:3] == pytest.approx([np.log(0.25), np.log(9)])
    assert values == sorted(values)
    assert [value >= threshold for value in values] == [False, False, True, True]
    assert [one.image for one in found] == [one.image for one in images]
