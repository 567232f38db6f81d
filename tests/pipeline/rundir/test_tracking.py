"""A run tracker is told of the run, and whatever it does, the run goes on."""

from __future__ import annotations

import json
import sys
import types

import pytest

from small_run import PER_CLASS, run
from synood.cli import main
from synood.errors import InputError
from synood.pipeline.rundir.tracking import POINTS, Tracking, find_tracker
from synood.progress import no_run_progress


class Recorder:
    """Keeps what it is told; fails where it is asked to."""

    def __init__(self, fails: str = "", error: BaseException | None = None) -> None:
        self.fails, self.error = fails, error or RuntimeError("no\nnetwork")
        self.calls: list[str] = []
        self.begun: dict = {}
        self.rows: list[dict] = []

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.fails == name:
            raise self.error

    def init(self, project: str, name: str, config: dict) -> None:
        self.begun = {"project": project, "name": name, "config": config}
        self._called("init")

    def log(self, values: dict) -> None:
        self.rows.append(values)
        self._called("log")

    def finish(self) -> None:
        self._called("finish")

    def curve(self, name: str) -> list[float]:
        return [row[name] for row in self.rows if name in row]


@pytest.fixture(scope="module")
def told(bundle, images, tmp_path_factory):
    """A recorder and the detector of the run that it was told of."""
    recorder = Recorder()
    detector = run(images, bundle, tmp_path_factory.mktemp("runs") / "first", tracker=recorder)
    return recorder, detector


def test_settings_progress_losses_and_results_are_told(told):
    recorder, detector = told
    assert recorder.calls[0] == "init"
    assert recorder.calls[-1] == "finish"
    assert set(recorder.calls[1:-1]) == {"log"}
    assert recorder.begun["project"] == "synood"
    assert recorder.begun["name"] == "first"
    config = recorder.begun["config"]
    json.dumps(config, allow_nan=False)  # of JSON values alone, or this fails
    assert config["classes"] == 3
    assert config["recipe"]["select"]["per_class"] == PER_CLASS
    for stage in ("select", "mine", "describe", "synthesize", "projection", "negatives"):
        done = recorder.curve(f"{stage}/done")
        assert done == sorted(done), stage
        assert done[-1] == 1.0, stage
    for stage in ("projection", "negatives"):
        assert len(recorder.curve(f"{stage}/loss")) > 0
        assert len(recorder.curve(f"{stage}/loss")) == len(recorder.curve(f"{stage}/step"))
    assert len(recorder.curve("synthesize/loss")) == 3  # of 6 images in batches of 2
    assert recorder.rows[-1]["final/negative_labels"] == len(detector.negative_prompts)
    assert recorder.rows[-1]["final/tuned_negatives"] == len(detector.tuned_rows)
    values = [value for row in recorder.rows for value in row.values()]
    assert all(isinstance(value, (int, float)) for value in values)


@pytest.mark.parametrize("fails", ["init", "log", "finish"])
@pytest.mark.parametrize("error", [RuntimeError("no\nnetwork"), SystemExit(1)])
def test_a_tracker_that_fails_is_left_and_told_of_once(
    bundle, images, told, tmp_path, fails, error
):
    notices = []
    recorder = Recorder(fails, error)
    detector = run(
        images,
        bundle,
        tmp_path / "run",
        tracker=recorder,
        progress=lambda stage, done, total, message: notices.append((stage, message)),
    )
    assert recorder.calls.count(fails) == 1
    assert recorder.calls[-1] == fails
    said = [message for stage, message in notices if stage == "tracker"]
    assert len(said) == 1
    assert said[0].startswith(f"the run tracker failed in {fails} ({type(error).__name__}: ")
    assert "\n" not in said[0]
    assert detector.negative_features.tobytes() == told[1].negative_features.tobytes()


def test_a_run_that_ends_early_is_finished_too(bundle, images, tmp_path):
    recorder = Recorder()

    def stop(stage, done, total, message):
        if stage == "mine":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(images, bundle, tmp_path / "run", tracker=recorder, progress=stop)
    assert recorder.calls[-1] == "finish"


def test_a_tracker_that_is_interrupted_stops_the_run(bundle, images, tmp_path):
    recorder = Recorder("log", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run(images, bundle, tmp_path / "run", tracker=recorder)


def test_curves_have_at_most_so_many_points_and_their_end():
    for steps in (1, 3, POINTS, 12_345):
        recorder = Recorder()
        tracking = Tracking(recorder, lambda _: None)
        for step in range(1, steps + 1):
            tracking.loss("x", step, steps, 1 / step)
            tracking.progress("x", step, steps)
        assert min(steps, POINTS) <= len(recorder.curve("x/loss")) <= 2 * POINTS
        assert recorder.curve("x/step")[-1] == steps
        assert len(recorder.curve("x/done")) <= 101


def test_a_module_is_a_tracker_and_found_by_its_name(monkeypatch):
    module = types.ModuleType("my_tracker")
    module.init = module.log = module.finish = no_run_progress
    monkeypatch.setitem(sys.modules, "my_tracker", module)
    assert find_tracker("my_tracker") is module
    with pytest.raises(InputError, match="'no_such_tracker': cannot be imported"):
        find_tracker("no_such_tracker")
    for name in ("", ".relative"):
        with pytest.raises(InputError, match="cannot be imported"):
            find_tracker(name)
    with pytest.raises(InputError, match="'json': has no function 'init'"):
        find_tracker("json")
    with pytest.raises(InputError, match="has no function 'finish'"):
        find_tracker(types.SimpleNamespace(init=print, log=print))


def test_the_command_takes_a_name_and_refuses_others_before_the_run(
    bundle, images, tmp_path, capsys, monkeypatch
):
    words = ["fit", str(images), "--out", str(tmp_path / "run"), "--models", str(bundle)]
    assert main([*words, "--track", "no_such_tracker"]) == 2
    assert "'no_such_tracker': cannot be imported" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    recorder = Recorder()
    monkeypatch.setitem(sys.modules, "my_tracker", recorder)
    words += ["--track", "my_tracker", "--per-class", "2", "--batch-size", "2"]
    words += ["--set", "synthesis.method=jigsaw", "--set", "mining.share=0.5"]
    assert main(words) == 0
    assert recorder.calls[-1] == "finish"
    assert recorder.begun["name"] == "run"
