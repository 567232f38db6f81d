"""Scores of images by evidence that was fitted without them set a threshold that keeps its word."""

from __future__ import annotations

import numpy as np
import pytest

from synood.detector.calibration import calibrate_threshold
from synood.detector.fit_evidence import fit_evidence
from synood.settings import EvidenceSettings

pytestmark = pytest.mark.numerical


@pytest.mark.parametrize(
    ("classes", "images", "width"), [(1, 20, 16), (1, 100, 16), (4, 10, 16), (8, 20, 64)]
)
@pytest.mark.parametrize("head", [0.0, 1.0])
def test_new_images_are_kept_as_often_as_promised(classes, images, width, head):
    """Over 20 worlds; a threshold on the very images that were learned from keeps far fewer."""
    rng = np.random.default_rng(classes * images)
    settings = EvidenceSettings(distance=1.0, neighbour=1.0, head=head)
    held_out, learned = [], []
    for _ in range(20):
        means, spread = rng.normal(size=(classes, width)), rng.normal(size=(width, width)) / 4

        def draw(count, means=means, spread=spread):
            labels = np.arange(classes).repeat(count)
            noise = rng.normal(size=(len(labels), width)) @ spread
            return (means[labels] + noise + 2.0).astype(np.float32), labels

        rows, labels = draw(images)
        evidence, unseen = fit_evidence(rows, labels, classes, settings=settings)
        new = evidence.scores(draw(400 // classes)[0])
        for found, values in ((held_out, unseen.scores), (learned, evidence.scores(rows))):
            found.append(np.mean(new >= calibrate_threshold(values).threshold))
    assert np.mean(held_out) > 0.94  # its deviation is about 0.01
    assert np.mean(learned) < np.mean(held_out)
