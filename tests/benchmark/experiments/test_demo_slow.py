"""The demo as people run it: real models, real scenes, the real command line. Minutes."""

import json
import subprocess
import sys

import numpy as np
import pytest

from synood import OODDetector
from synood.benchmark.results.results import read_results
from synood.benchmark.suites.suite import read_suite

pytestmark = pytest.mark.slow
METHODS = {"MSP", "Energy", "MCM", "NegLabel", "SynOOD"}


def run_demo(out):
    command = [sys.executable, "-m", "synood", "demo", "--out", str(out), "--seeds", "3"]
    return subprocess.run(
        [*command, "--split", "main"], capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "out"
    return out, run_demo(out)


def test_the_table_has_every_method_and_set(demo):
    out, printed = demo
    assert all(f"\n{name} " in printed for name in METHODS)
    rows = read_results(out / "results.json").rows
    groups = {(row.group, row.ood_set) for row in rows}
    assert sum(group == "near" for group, _ in groups) >= 2
    assert sum(group == "far" for group, _ in groups) >= 4
    assert len({row.seed for row in rows}) == 3


def test_the_main_split_is_solved_by_the_text_methods(demo):
    """The demands of the mini bundle, on a suite that no training has seen."""
    rows = read_results(demo[0] / "results.json").rows
    neglabel = [row for row in rows if row.method.lower() == "neglabel"]
    assert np.mean([row.auroc for row in neglabel if row.group == "near"]) > 0.78
    assert np.mean([row.auroc for row in neglabel if row.group == "far"]) > 0.85


def test_the_saved_detector_separates_and_names(demo):
    out, _ = demo
    detector = OODDetector.from_pretrained(out / "detector")
    suite = read_suite(out / "suite")
    known = suite.one("test").index().records[::20]
    other = suite.ood("test")[0].index().records[::40]
    known_scores = detector.score([record.path for record in known])
    other_scores = detector.score([record.path for record in other])
    assert np.median(known_scores) > np.median(other_scores)
    found = [one.label for one in detector.predict([record.path for record in known])]
    assert np.mean([a == r.label for a, r in zip(found, known, strict=True)]) > 0.75


def test_the_same_call_again_changes_nothing(demo):
    out, printed = demo
    names = ("results.json", "report.html", "detector/model.safetensors", "detector/config.json")
    before = {name: (out / name).read_bytes() for name in names}
    assert run_demo(out) == printed
    assert {name: (out / name).read_bytes() for name in names} == before
    assert json.loads(before["results.json"])["schema"] == 1
