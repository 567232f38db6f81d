"""Whatever ends a run, and whenever: started again, it ends with the bytes of one left alone."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from small_run import QUICK, contents, run
from synood import InputError
from synood.features.cache import FILE
from synood.files import read_jsonl, write_jsonl
from synood.pipeline.executors.local import LocalExecutor
from synood.pipeline.rundir import shards

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


@pytest.fixture(scope="module", autouse=True)
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD", 2)
        before = torch.get_num_threads()
        torch.set_num_threads(1)  # forked children must not wait for the parent's threads
        yield
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def first(bundle, images, tmp_path_factory):
    """A run left alone, and how long it took."""
    out = tmp_path_factory.mktemp("runs") / "first"
    begun = time.monotonic()
    run(images, bundle, out)
    return out, time.monotonic() - begun


def refuse_partial_files(out: Path) -> None:
    """Every file under a final name is whole."""
    for path in sorted(out.rglob("*")):
        if not path.is_file() or any(p.startswith(".") for p in path.relative_to(out).parts):
            continue
        if path.suffix == ".png":
            Image.open(path).load()
        elif path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            load_file(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".jsonl" and path.name != "events.jsonl":
            read_jsonl(path)


def in_a_child(work) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return child


def killed_at_random(work, out: Path, seconds: float, kills: int, seed: int) -> Counter:
    """Run `work` in children that a signal ends at a random moment; return how they ended."""
    rng = random.Random(seed)
    ends: Counter = Counter()
    for number in range(kills):
        child = in_a_child(work)
        time.sleep(rng.uniform(0, seconds))
        os.kill(child, SIGNALS[number % len(SIGNALS)])
        _, status = os.waitpid(child, 0)
        ends[os.waitstatus_to_exitcode(status)] += 1
        if out.exists():
            refuse_partial_files(out)
    return ends


def test_killed_at_random_moments(first, bundle, images, tmp_path):
    alone, seconds = first
    out = tmp_path / "killed"

    ends = killed_at_random(lambda: run(images, bundle, out), out, 0.6 * seconds, 6, seed=0)
    run(images, bundle, out)

    assert ends.keys() & {-9, -15, 1}, "nothing was interrupted"
    assert contents(out) == contents(alone)
    assert not list(out.rglob(".*.part"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_killed_at_many_random_moments(first, bundle, images, tmp_path, seed):
    alone, seconds = first
    out = tmp_path / "killed"
    killed_at_random(lambda: run(images, bundle, out), out, 0.4 * seconds, 25, seed)
    run(images, bundle, out)
    assert contents(out) == contents(alone)


def test_the_command_ends_on_a_request_to_end_and_goes_on(bundle, images, tmp_path):
    """The real command, ended by SIGTERM as a batch system ends it."""
    out = tmp_path / "run"
    sets = [word for assignment in QUICK for word in ("--set", assignment)]
    command = [
        sys.executable, "-m", "synood", "fit", str(images), "--out", str(out),
        "--models", str(bundle), "--device", "cpu", *sets,
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    for line in process.stderr:
        if line.startswith("synthesize"):
            process.send_signal(signal.SIGTERM)
            break
    rest = process.stderr.read()

    assert process.wait() == 143
    assert "stopped" in rest
    assert "Traceback" not in rest
    assert read_jsonl(out / "events.jsonl")[-1]["event"] == "stopped"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Disks


def test_a_full_disk_ends_it_cleanly_and_room_lets_it_go_on(first, bundle, images, tmp_path):
    """No file may grow beyond what the run writes: as on a full disk, a write fails half way."""
    alone, _ = first
    out = tmp_path / "full"
    limit = min(path.stat().st_size for path in alone.rglob("*.png")) - 1

    def work():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            run(images, bundle, out)
        except InputError as error:
            (tmp_path / "said").write_text(str(error))
            os._exit(2)

    _, status = os.waitpid(in_a_child(work), 0)

    assert os.waitstatus_to_exitcode(status) == 2
    assert "File too large); what is finished is kept" in (tmp_path / "said").read_text()
    refuse_partial_files(out)
    assert not list(out.rglob(".*.part"))
    run(images, bundle, out)
    assert contents(out) == contents(alone)


def mounted(place: Path, *options: str) -> bool:
    place.mkdir()
    command = ["mount", "-t", "tmpfs", *options, "tmpfs", str(place)]
    return (
        shutil.which("mount") is not None
        and not subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode
    )


@pytest.fixture
def disk(tmp_path):
    """A disk of 64 kB, where the system lets us have one."""
    place = tmp_path / "disk"
    if not mounted(place, "-o", "size=64k"):
        pytest.skip("mounting is not permitted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_really_full_and_one_that_is_read_only(first, bundle, images, disk):
    alone, _ = first
    with pytest.raises(InputError, match=r"No space left on device.*resumes from there"):
        run(images, bundle, disk / "run")
    refuse_partial_files(disk / "run")

    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(InputError, match=r"Read-only file system"):
        run(images, bundle, disk / "run")
    with pytest.raises(InputError, match=r"Read-only file system"):
        run(images, bundle, disk / "another")
    subprocess.run(["mount", "-o", "remount,rw,size=16m", str(disk)], check=True)
    run(images, bundle, disk / "run")
    assert contents(disk / "run") == contents(alone)


# What a change makes to be done again


class Counting:
    """The local executor, counting what passes through it."""

    def __init__(self):
        self.items: Counter = Counter()
        self._local = LocalExecutor()

    def run(self, task, batches):
        self.items[type(task).__name__] += sum(map(len, batches))
        return self._local.run(task, batches)


def change_image(images, out):
    noise = np.random.default_rng(9).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(images / "cat" / "4.png")


def change_text(images, out):
    rows = read_jsonl(out / "describe.jsonl")
    rows[0]["text"] = "a nice tree"
    write_jsonl(out / "describe.jsonl", rows)


def rename_image(images, out):
    (images / "dog" / "4.png").rename(images / "dog" / "zz.png")


def remove_shard(images, out):
    shutil.rmtree(sorted((out / "synthesize").iterdir())[0])


@pytest.fixture(scope="module")
def features_of_first(first, bundle, images, tmp_path_factory):
    """A cache that holds the features of the first run."""
    place = tmp_path_factory.mktemp("cache")
    out = Path(shutil.copytree(first[0], place / "run"))
    shutil.rmtree(out / "features")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNOOD_CACHE", str(place))
        patch.setenv("SYNOOD_CACHE_SIZE", "50MB")
        run(images, bundle, out)
    return place / FILE


@pytest.fixture
def kept(features_of_first, monkeypatch, tmp_path):
    (tmp_path / "cache").mkdir()
    shutil.copy(features_of_first, tmp_path / "cache")
    monkeypatch.setenv("SYNOOD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SYNOOD_CACHE_SIZE", "50MB")


# A change, by a setting or by hand -> images described, painted, encoded; whether it is tuned anew
CHANGES = {
    "nothing": ({}, None, (0, 0, 0, False)),
    "tuning": ({"assignments": ("negatives.epochs=9",)}, None, (0, 0, 0, True)),
    "score": ({"assignments": ("score.temperature=0.02",)}, None, (0, 0, 0, True)),
    "mining": ({"assignments": ("mining.share=0.9",)}, None, (0, 0, 0, True)),
    "template": ({"assignments": ("describe.template=only {}",)}, None, (0, 6, 6, True)),
    "guidance": ({"assignments": ("guidance.guidance_scale=2",)}, None, (0, 6, 6, True)),
    "seed": ({"seed": 1}, None, (0, 6, 6, True)),
    "batch size": ({"batch_size": 3}, None, (0, 0, 0, False)),
    "fewer": ({"assignments": ("select.per_class=1",)}, None, (0, 0, 0, True)),
    "more": ({"assignments": ("select.per_class=3",)}, None, (3, 3, 3, True)),
    "an image": ({}, change_image, (1, 1, 2, True)),
    "a text": ({}, change_text, (0, 1, 1, True)),
    "a name": ({}, rename_image, (1, 0, 0, False)),
    "a shard gone": ({}, remove_shard, (0, 2, 0, False)),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_redoes_what_depends_on_it_and_no_more(
    first, kept, bundle, images, tmp_path, name
):
    options, by_hand, (described, painted, encoded, tuned) = CHANGES[name]
    own = Path(shutil.copytree(images, tmp_path / "images", copy_function=shutil.copy2))
    out = Path(shutil.copytree(first[0], tmp_path / "again"))
    if by_hand:
        by_hand(own, out)
    before = (out / "detector" / "config.json").stat().st_mtime_ns

    counting = Counting()
    options = dict(options)
    run(own, bundle, out, *options.pop("assignments", ()), executor=counting, **options)

    found = tuple(counting.items[kind] for kind in ("Describe", "Synthesize", "Encode"))
    assert found == (described, painted, encoded)
    assert ((out / "detector" / "config.json").stat().st_mtime_ns != before) == tuned


def test_a_resumed_change_ends_as_a_run_of_its_own(first, bundle, images, tmp_path):
    """What was kept, what was painted alone and what was encoded alone fit without a seam."""
    own = Path(shutil.copytree(images, tmp_path / "images"))
    out = Path(shutil.copytree(first[0], tmp_path / "again"))
    change_image(own, out)
    run(own, bundle, out)
    run(own, bundle, tmp_path / "fresh")
    assert contents(out / "detector") == contents(tmp_path / "fresh" / "detector")
