"""`synood status`: told from files alone, of runs at work, done, failed, killed and elsewhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from synood import InputError
from synood.cli.app import main
from synood.files import write_jsonl
from synood.pipeline.rundir import lock as _lock
from synood.pipeline.rundir import workspace as _workspace
from synood.pipeline.rundir.lock import Holder, holder
from synood.pipeline.rundir.status import read_status
from synood.pipeline.rundir.workspace import open_run


@pytest.fixture
def begun(tmp_path):
    """A run directory in which a process selected all and painted 4 of 10, then ended."""
    out = tmp_path / "run"
    with open_run(out) as workspace:
        workspace.log("start")
        workspace.stage("select")(10, 10)
        workspace.stage("synthesize")(0, 10)
        workspace._beat = -1e9
        workspace.stage("synthesize")(4, 10)
    return out


def test_how_far_each_stage_is(begun):
    (begun / "synthesize" / "abc").mkdir(parents=True)
    write_jsonl(begun / "synthesize" / "abc" / "rows.jsonl", [{"id": "a"}, {"id": "b"}])
    write_jsonl(begun / "describe.jsonl", [{"id": str(i)} for i in range(10)])
    found = read_status(begun)

    assert found.state == "killed"
    assert (found.described, found.painted) == (10, 2)
    told = {stage.name: (stage.done, stage.total, stage.state) for stage in found.stages}
    assert told["select"] == (10, 10, "done")
    assert told["synthesize"] == (4, 10, "begun")
    assert told["embed"] == (0, None, "waiting")
    assert "probe" not in told


@pytest.mark.parametrize(
    ("event", "state"), [("done", "done"), ("failed", "failed"), ("stopped", "stopped")]
)
def test_how_it_ended(begun, event, state):
    with open_run(begun) as workspace:
        workspace.log(event, error="a.png: broken")
    found = read_status(begun)
    assert found.state == state
    assert found.last_error == ("a.png: broken" if event == "failed" else None)


def test_a_process_at_work_is_seen_and_one_that_was_killed_is_not(begun):
    """A process holds the lock; asking does not take it, and needs no torch."""
    code = """
import sys, time
from pathlib import Path
from synood.pipeline.rundir.workspace import open_run
with open_run(Path(sys.argv[1])) as workspace:
    workspace.log("start")
    print("ready", flush=True)
    time.sleep(60)
"""
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(begun)], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "ready\n"
    asked = subprocess.run(
        [
            sys.executable, "-X", "importtime", "-m", "synood", "status", str(begun),
            "--format", "json",
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(asked.stdout)
    assert found["state"] == "running"
    assert found["process"]["pid"] == other.pid
    assert "| torch" not in asked.stderr
    with pytest.raises(InputError, match=f"process {other.pid} on .* is running"), open_run(begun):
        pass

    other.send_signal(signal.SIGKILL)
    other.wait()
    assert read_status(begun).state == "killed"
    with open_run(begun):
        pass


def test_a_process_elsewhere_or_another_one_of_the_same_number(begun):
    note = begun / ".lock.json"
    note.write_text(json.dumps({"pid": os.getpid(), "host": "elsewhere", "born": None}))
    assert read_status(begun).state == "elsewhere"
    own = Holder(os.getpid(), _lock.socket.gethostname(), _lock._born(os.getpid()))
    note.write_text(json.dumps(vars(own)))
    assert read_status(begun).state == "running"
    note.write_text(json.dumps({**vars(own), "born": "1"}))
    assert read_status(begun).state == "killed"
    note.write_text("no note")
    assert holder(begun) is None


def test_the_rest_takes_as_long_as_the_pace_says(tmp_path):
    start = datetime(2026, 1, 1, tzinfo=UTC)

    def at(seconds, **row):
        return {"time": (start + timedelta(seconds=seconds)).isoformat(), **row}

    painting = {"event": "progress", "stage": "synthesize", "total": 100}
    rows = [
        at(0, event="start"),
        at(5, event="progress", stage="select", done=100, total=100),
        at(10, **painting, done=20),  # of an earlier process: not of this pace
        at(110, **painting, done=60),
    ]
    write_jsonl(tmp_path / "events.jsonl", rows)
    (tmp_path / ".lock.json").write_text(json.dumps({"pid": 1, "host": "elsewhere", "born": None}))

    left = [
        read_status(tmp_path, start + timedelta(seconds=s)).seconds_left for s in (110, 130, 999)
    ]
    assert left == [100, 80, 0]
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"time": "20')  # a process is just writing
    assert read_status(tmp_path, start + timedelta(seconds=110)).seconds_left == 100


def test_what_was_left_out_is_counted(begun, capsys):
    write_jsonl(
        begun / "quarantine.jsonl", [{"stage": "select"}, {"stage": "select"}, {"stage": "embed"}]
    )
    assert read_status(begun).quarantined == {"select": 2, "embed": 1}
    assert main(["status", str(begun)]) == 0
    text = capsys.readouterr().out
    assert "3 images skipped (2 at select, 1 at embed)" in text
    assert "killed; run the same command again to resume" in text


def test_where_no_run_was_begun(begun, tmp_path, capsys):
    assert main(["status", str(tmp_path / "elsewhere")]) == 2
    assert "elsewhere: not a run directory" in capsys.readouterr().err
    assert main(["status", str(begun / "detector")]) == 2
    assert f"its run is {begun}" in capsys.readouterr().err


def test_progress_is_logged_at_begin_end_and_now_and_then(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with open_run(tmp_path / "run") as workspace:
        advance = workspace.stage("synthesize")
        for done in range(101):
            clock[0] += 1.0
            advance(done, 100)
        advance(100, 100)
    rows = [json.loads(line) for line in (tmp_path / "run/events.jsonl").read_text().splitlines()]
    told = [row["done"] for row in rows]
    assert told[0] == 0
    assert told[-1] == 100
    assert len(told) == 2 + 100 // (_workspace.HEARTBEAT + 1)


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    def none(descriptor, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", none)
    with pytest.raises(InputError, match="cannot lock files"), open_run(tmp_path / "run"):
        pass
