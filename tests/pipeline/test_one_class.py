"""One class, the normal case of industry: `fit` from end to end, with no probe of one class."""

import numpy as np
import pytest
from PIL import Image

from small_run import run
from synood import OODDetector
from synood.files import read_jsonl
from synood.pipeline.recipe import read_recipe


def noisy_cats(root, count=40):
    rng = np.random.default_rng(0)
    (root / "cat").mkdir(parents=True)
    for number in range(count):
        pixels = rng.integers(0, 40 + 5 * number, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "cat" / f"{number}.png")
    return root


@pytest.mark.parametrize("recipe", ["plus", "paper"])
def test_one_class_has_no_probe_and_scores_that_tell_images_apart(bundle, tmp_path, recipe):
    images = noisy_cats(tmp_path / "images")
    run(images, bundle, tmp_path / "run", recipe=recipe)
    detector = OODDetector.from_pretrained(tmp_path / "run" / "detector", models=bundle)
    assert detector.threshold is not None
    assert len(np.unique(detector.calibration.scores)) > 0.9 * detector.calibration.images
    uses = {use for row in read_jsonl(tmp_path / "run" / "select.jsonl") for use in row["uses"]}
    assert "probe" not in uses
    made = read_recipe(tmp_path / "run" / "run.toml")
    assert made.guidance.objective == "margin"
    said = [row.get("message", "") for row in read_jsonl(tmp_path / "run" / "events.jsonl")]
    assert any("one class has no classifier to guide with" in str(text) for text in said)
    evidence = detector.image_evidence
    if recipe == "paper":
        assert evidence is None
    else:
        np.testing.assert_array_equal(evidence.weights, np.array([0, 0.5, 0.5, 0], np.float32))
    assert {one.label for one in detector.predict(images)} == {"cat"}
