"""A run and a detector made by an earlier version go on: nothing paid for is made again.

tests/data/earlier was written by commit 3889a37 (schema 1 of runs and detectors, whose scores are
shares in [0, 1]): the tiny bundle
without the weights that paint, its images, a finished run, and what its detector scored. The path
of the bundle in its config.json was changed to one that is nobody's.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from small_run import contents, run
from synood import OODDetector, scores
from synood.pipeline.executors.local import LocalExecutor

EARLIER = Path(__file__).parents[1] / "data" / "earlier"
MODIFIED = 10**18  # nanoseconds: when the images were last changed, which the run has noted


@pytest.fixture
def earlier(tmp_path, monkeypatch):
    """A copy of the earlier run beside its images; relative paths are below it."""
    root = Path(shutil.copytree(EARLIER, tmp_path / "earlier"))
    for path in (root / "images").rglob("*.png"):
        os.utime(path, ns=(MODIFIED, MODIFIED))
    monkeypatch.chdir(root)
    return root


class Counting(LocalExecutor):
    """Counts how many items each kind of task was given."""

    def __init__(self) -> None:
        self.items: dict[str, int] = {}

    def run(self, task, batches):
        name = type(task).__name__
        self.items[name] = self.items.get(name, 0) + sum(map(len, batches))
        yield from super().run(task, batches)


def test_a_finished_run_goes_on_and_synthesizes_nothing_again(earlier):
    kept = ("select.jsonl", "describe.jsonl", "assign.jsonl")
    before = {name: (earlier / "run" / name).read_text() for name in kept}
    images = contents(earlier / "run" / "synthesize")
    executor = Counting()

    # the number of calibration images that was the default
    as_before = "calibration.per_class=20"
    detector = run(Path("images"), Path("bundle"), Path("run"), as_before, executor=executor)

    assert {name: (earlier / "run" / name).read_text() for name in kept} == before
    assert contents(earlier / "run" / "synthesize") == images
    assert executor.items.get("Synthesize", 0) == executor.items.get("Describe", 0) == 0
    paths = sorted(Path("images").rglob("*.png"))
    expected = json.loads((earlier / "scores.json").read_text())
    np.testing.assert_allclose(scores.share(detector.score(paths)), expected, rtol=1e-4)


def test_its_threshold_is_kept_unless_it_is_to_be_replaced(earlier):
    before = OODDetector.from_pretrained("run/detector", models="bundle")
    as_before, where = "calibration.per_class=20", (Path("images"), Path("bundle"), Path("run"))

    kept = run(*where, as_before, overwrite=False)
    assert kept.threshold == pytest.approx(before.threshold, rel=1e-6)
    assert OODDetector.from_pretrained("run/detector", models="bundle").threshold == kept.threshold
    assert "is kept; --overwrite sets it anew" in (earlier / "run" / "events.jsonl").read_text()

    assert run(*where, as_before, overwrite=False).threshold == kept.threshold
    assert run(*where, as_before, overwrite=True).threshold == kept.threshold  # nothing to make


def test_a_threshold_is_not_kept_for_a_detector_that_scores_otherwise(earlier):
    as_before, where = "calibration.per_class=20", (Path("images"), Path("bundle"), Path("run"))
    detector = OODDetector.from_pretrained("run/detector", models="bundle")
    other = replace(detector, negative_features=-detector.negative_features)
    other.save_pretrained("run/detector")
    assert run(*where, as_before, overwrite=False).threshold is None


def test_with_other_images_for_the_threshold_nothing_is_synthesized_again(earlier):
    images = contents(earlier / "run" / "synthesize")
    executor = Counting()
    run(Path("images"), Path("bundle"), Path("run"), executor=executor)
    assert contents(earlier / "run" / "synthesize") == images
    assert executor.items.get("Synthesize", 0) == executor.items.get("Describe", 0) == 0


def test_its_detector_is_read_and_scores_as_it_did(earlier):
    detector = OODDetector.from_pretrained("run/detector", models="bundle")
    paths = sorted(Path("images").rglob("*.png"))
    expected = json.loads((earlier / "scores.json").read_text())
    # batches are padded since, which other kernels may round differently
    np.testing.assert_allclose(scores.share(detector.score(paths)), expected, rtol=1e-4)
    assert detector.calibration is not None
    share = json.loads((earlier / "run" / "detector" / "config.json").read_text())["threshold"]
    assert scores.share([detector.threshold])[0] == pytest.approx(share, rel=1e-5)

    detector.save_pretrained("again")
    again = OODDetector.from_pretrained("again", models="bundle")
    np.testing.assert_array_equal(again.score(paths), detector.score(paths))
    assert (
        contents(Path("again"))["negatives.txt"] == contents(Path("run/detector"))["negatives.txt"]
    )
