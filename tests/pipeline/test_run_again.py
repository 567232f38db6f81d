"""A run that was killed, is done, or has other inputs: what is made again, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from small_run import contents, pictures, run
from synood import InputError
from synood.files import read_jsonl, write_jsonl
from synood.pipeline.rundir import shards
from synood.pipeline.rundir.shards import read_synthetic
from synood.pipeline.rundir.workspace import open_run

pytestmark = [pytest.mark.numerical, pytest.mark.usefixtures("one_thread", "small_shards")]


def painted(out: Path) -> int:
    """Pictures painted by the last call."""
    rows = read_jsonl(out / "events.jsonl")
    start = max(i for i, row in enumerate(rows) if row["event"] == "start")
    return sum(row["images"] for row in rows[start:] if row["event"] == "shard")


# Killed and run again

MOMENTS = (
    ("select", 3), ("mine", 12), ("describe", 6), ("synthesize", 1), ("synthesize", 4),
    ("embed", 6), ("projection", 2), ("negatives", 4),
)  # fmt: skip


@pytest.mark.parametrize(("stage", "moment"), MOMENTS)
def test_killed_and_run_again_gives_the_same_bytes(first, bundle, images, tmp_path, stage, moment):
    out = tmp_path / "killed"
    in_a_child_that_is_killed(lambda kill: run(images, bundle, out, progress=kill), stage, moment)
    assert not (out / "detector" / "config.json").exists()
    before = len(pictures(out))

    run(images, bundle, out)

    assert contents(out) == contents(first)
    assert not list(out.rglob(".*part"))
    assert painted(out) == 6 - before
    if stage == "synthesize":
        assert before >= moment - shards.SHARD


def test_killed_while_writing_leaves_no_half_file(bundle, images, tmp_path, first):
    """Killed between the bytes of a file and its name: inside `os.replace` and `os.rename`."""
    out = tmp_path / "killed"
    for count in (1, 3, 2, 4, 3):  # what one child has done, the next does not do again
        if os.fork() == 0:
            kill_at_rename(count)
            run(images, bundle, out)
            os._exit(0)
        _, status = os.wait()
        assert os.WIFSIGNALED(status)
        for path in out.rglob("[!.]*.json*"):
            [json.loads(line) for line in path.read_text().splitlines() if path.suffix == ".jsonl"]

    run(images, bundle, out)

    assert contents(out) == contents(first)
    assert not list(out.rglob(".*part"))


def in_a_child_that_is_killed(work, stage: str, moment: int) -> None:
    def progress(name: str, done: int, total: int, message: str) -> None:
        if name == stage and done >= moment:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        work(progress)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the child was to be killed in the middle"
    assert os.WTERMSIG(status) == signal.SIGKILL


def kill_at_rename(count: int) -> None:
    """Let this process die in its `count`-th rename from now on, before it happens."""
    left = [count]
    real = {name: getattr(os, name) for name in ("rename", "replace")}

    def dying(name):
        def act(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real[name](*args, **kwargs)

        return act

    for name in real:
        setattr(os, name, dying(name))


def test_run_that_is_done_does_nothing_more(again, bundle, images):
    stamps = {p: p.stat().st_mtime_ns for p in again.rglob("[!.]*.*") if p.suffix != ".jsonl"}

    run(images, bundle, again)

    assert painted(again) == 0
    kept = {p for p in stamps if p.stat().st_mtime_ns == stamps[p]}
    assert {p.name for p in stamps.keys() - kept} <= {"run.toml"}


# A changed input redoes it and what follows, nothing else


def test_other_tuning_keeps_the_pictures(first, again, bundle, images):
    run(images, bundle, again, "negatives.epochs=9")

    assert painted(again) == 0
    assert pictures(again) == pictures(first)
    assert contents(again / "detector") != contents(first / "detector")


def test_other_guidance_paints_all_anew_and_removes_the_old(first, again, bundle, images):
    run(images, bundle, again, "guidance.step_size=1")

    assert painted(again) == 6
    assert len(list((again / "synthesize").rglob("*.png"))) == 6
    assert (again / "describe.jsonl").read_bytes() == (first / "describe.jsonl").read_bytes()


def test_a_changed_image_is_the_only_one_painted_anew(first, again, bundle, images, tmp_path):
    changed = Path(shutil.copytree(images, tmp_path / "changed"))
    noise = np.random.default_rng(9).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(changed / "cat" / "4.png")

    run(changed, bundle, again)

    assert painted(again) == 1
    old, new = pictures(first), pictures(again)
    assert {key for key in new if new[key] != old[key]} == {"cat/4.png"}


def test_a_touched_image_changes_nothing(again, bundle, images, tmp_path):
    touched = Path(shutil.copytree(images, tmp_path / "touched"))
    for path in touched.rglob("*.png"):
        os.utime(path, (1, 1))

    run(touched, bundle, again)

    assert painted(again) == 0


def test_a_text_changed_by_hand_is_used(again, bundle, images):
    rows = read_jsonl(again / "describe.jsonl")
    rows[2]["text"] = "a nice tree"
    write_jsonl(again / "describe.jsonl", rows)

    run(images, bundle, again)

    assert painted(again) == 1
    prompts = {p.id: p.prompt for p in read_synthetic(again / "synthesize").values()}
    assert prompts[rows[2]["id"]] == "A photo only remain a nice tree."


@pytest.mark.parametrize(
    "pattern", ["synthesize/*/*.png", "features/image-*", "features/text-*", "detector/model.*"]
)
def test_what_is_damaged_is_made_again(first, again, bundle, images, pattern):
    victim = sorted(again.glob(pattern))[0]
    data = bytearray(victim.read_bytes())
    victim.write_bytes(data[: len(data) // 2])

    run(images, bundle, again)

    assert contents(again / "detector") == contents(first / "detector")
    assert pictures(again) == pictures(first)


def test_a_stray_picture_in_a_shard_is_cleared_away(first, again, bundle, images):
    shard = sorted((again / "synthesize").iterdir())[0]
    shutil.copyfile(next(shard.glob("*.png")), shard / "stray.png")

    run(images, bundle, again)

    assert contents(again) == contents(first)
    assert painted(again) == 0


def test_two_runs_in_one_directory_are_refused_until_the_first_ends(again, bundle, images, first):
    ready, write = os.pipe()
    child = os.fork()
    if child == 0:
        with open_run(again):
            os.write(write, b"x")
            signal.pause()
        os._exit(0)
    os.read(ready, 1)

    with pytest.raises(InputError, match=f"process {child} on .* is running in this directory"):
        run(images, bundle, again)

    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    run(images, bundle, again)
    assert contents(again) == contents(first)


def test_half_an_event_of_a_killed_run_is_dropped(again, bundle, images):
    events = again / "events.jsonl"
    whole = events.read_text().splitlines()
    events.write_text(events.read_text() + '{"time": "20')
    run(images, bundle, again)
    assert events.read_text().splitlines()[: len(whole)] == whole
    assert all(json.loads(line) for line in events.read_text().splitlines())
