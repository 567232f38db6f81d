"""The Ray executor on a real cluster of two nodes, with workers and nodes that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bundling import CLASSES, tiny_bundle
from small_run import contents, make_pictures, run
from spreading import SETTINGS, Bulky, Fatal, cluster_of_two
from synood import InputError, OODDetector
from synood.executor import in_order
from synood.features.extractor import ImageFile
from synood.files import sha256_file
from synood.models.bundles import load_bundle
from synood.models.loaded import Models
from synood.pipeline.executors.local import LocalExecutor
from synood.pipeline.executors.ray import ATTEMPTS, connected
from synood.pipeline.executors.tasks import Encode, Synthesize
from synood.pipeline.rundir import shards
from synood.pipeline.rundir.shards import SynthesisRequest
from synood.settings import GuidanceSettings

pytest.importorskip("ray")

GUIDANCE = GuidanceSettings(num_inference_steps=4, rounds=2)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cluster():
    with cluster_of_two() as two:
        yield two


@pytest.fixture(scope="module")
def executor(cluster):
    with connected(cluster.address) as found:
        assert found.workers == 2
        yield found


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models") / "bundle"
    return Models(load_bundle(tiny_bundle(root, inpainter=True)), "cpu")


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> list[Path]:
    root = tmp_path_factory.mktemp("data") / "images"
    return sorted(make_pictures(root, count=6).rglob("*.png"))


def batches_of(items, size):
    return [items[start : start + size] for start in range(0, len(items), size)]


def files_of(paths: list[Path]) -> list[ImageFile]:
    return [ImageFile(path, sha256_file(path)) for path in paths]


def jobs_for(paths: list[Path]) -> list[tuple[SynthesisRequest, None]]:
    return [
        (
            SynthesisRequest(
                str(file.path),
                file.path,
                file.sha256,
                f"a photo of a {file.path.parent.name}",
                seed,
                str(seed),
            ),
            None,
        )
        for seed, file in enumerate(files_of(paths))
    ]


def test_a_killed_worker_costs_its_batch_and_images_are_those_made_here(
    executor, models, paths, tmp_path
):
    (tmp_path / "marks").mkdir()
    batches = batches_of(jobs_for(paths), 2)
    task = Synthesize(models, None, GUIDANCE, 2)
    expected = in_order(LocalExecutor().run(task, batches))

    fatal = Fatal(task, batches[4][0], tmp_path / "marks")
    found = list(executor.run(fatal, batches))

    assert sorted(number for number, _ in found) == list(range(len(batches)))
    assert len(list((tmp_path / "marks").iterdir())) == 1
    assert len(list(tmp_path.glob("done-*"))) >= 2
    for mine, theirs in zip(in_order(iter(found)), expected, strict=True):
        for one, other in zip(mine.results, theirs.results, strict=True):
            assert one.image.tobytes() == other.image.tobytes()
            assert (one.losses, one.energies) == (other.losses, other.energies)
            assert (one.source_energy, one.stop) == (other.source_energy, other.stop)


@pytest.mark.slow
def test_what_is_wrong_with_an_image_is_told_as_it_is_here(executor, models, paths, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    files = files_of([*paths[:2], tmp_path / "broken.png", *paths[2:4]])
    (here,), (there,) = (
        in_order(one.run(Encode(models), [files])) for one in (LocalExecutor(), executor)
    )
    assert there[2] == here[2]
    assert "broken.png: not an image" in there[2].reason
    for row in (0, 1, 3, 4):
        np.testing.assert_array_equal(there[row], here[row])


@pytest.mark.slow
def test_a_bundle_that_a_worker_does_not_find_is_told(executor, paths, tmp_path):
    bundle = load_bundle(tiny_bundle(tmp_path / "bundle"))
    (tmp_path / "bundle").rename(tmp_path / "gone")
    with pytest.raises(InputError, match=r"bundle\.json"):
        list(executor.run(Encode(Models(bundle, "cpu")), [files_of(paths)]))


@pytest.mark.slow
def test_a_batch_that_always_ends_its_worker_ends_the_run(executor, models, paths, tmp_path):
    (tmp_path / "marks").mkdir()
    fatal = Fatal(Encode(models), files_of(paths)[2], tmp_path / "marks", times=99)
    with pytest.raises(InputError, match=f"batch 1 ended its worker {ATTEMPTS} times"):
        list(executor.run(fatal, batches_of(files_of(paths[:6]), 2)))
    assert len(list((tmp_path / "marks").iterdir())) == ATTEMPTS


@pytest.mark.slow
def test_results_that_nobody_takes_hold_the_workers_back(executor, tmp_path):
    """Sixty results of 8 MB, where the nodes' stores hold 200 MB."""
    results = executor.run(Bulky(tmp_path), list(range(60)))
    found = [next(results)]
    counts = []
    for _ in range(2):
        time.sleep(10)
        counts.append(len(list(tmp_path.iterdir())))
    assert counts[0] == counts[1] < 40
    found += results
    assert sorted(number for number, _ in found) == list(range(60))
    assert all((values == number).all() for number, values in found)


@pytest.mark.slow
def test_a_lost_node_costs_its_batches_though_none_takes_its_place(models, paths):
    batches = batches_of(files_of(paths), 1) * 6
    expected = in_order(LocalExecutor().run(Encode(models), batches))
    with cluster_of_two() as own, connected(own.address, workers=2) as executor:
        found = []
        for pair in executor.run(Encode(models), batches):
            found.append(pair)
            if len(found) == 10:
                (lost,) = own.worker_nodes
                threading.Thread(target=own.remove_node, args=(lost, False)).start()
    assert sorted(number for number, _ in found) == list(range(len(batches)))
    np.testing.assert_array_equal(in_order(iter(found)), expected)


def test_an_address_where_nothing_answers_is_told(monkeypatch):
    with (
        pytest.raises(InputError, match="clients are not supported"),
        connected("ray://there:10001"),
    ):
        pass
    with pytest.raises(InputError, match="at least 1"), connected(None, workers=0):
        pass


# Whole commands


def workers_of(cluster) -> list[int]:
    """Process ids of the actors that live on the nodes of `cluster`."""
    nodes = (cluster.head_node, *cluster.worker_nodes)
    raylets = [info.process.pid for node in nodes for info in node.all_processes["raylet"]]
    children = [
        int(child)
        for raylet in raylets
        for child in Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split()
    ]
    return [
        pid for pid in children if b"ray::MapWorker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


@pytest.mark.slow
def test_a_run_spread_and_stopped_and_gone_on_gives_the_bytes_of_one_here(
    cluster, executor, models, tmp_path, monkeypatch
):
    """A worker is killed in the middle of the painting, the run stopped; one worker goes on."""
    monkeypatch.setattr(shards, "SHARD", 4)
    images = make_pictures(tmp_path / "images", count=8)
    root = models.bundle.root
    more = ("select.per_class=5", "guidance.target_quantile=0.9")
    run(images, root, tmp_path / "here", *more)
    killed = []

    def kill_a_worker_then_stop(stage: str, done: int, total: int, message: str) -> None:
        if stage == "synthesize" and total and not killed:
            killed.append(workers_of(cluster)[0])
            os.kill(killed[0], signal.SIGKILL)
        if stage == "synthesize" and done >= 10:
            raise KeyboardInterrupt

    spread = {"executor": executor, "progress": kill_a_worker_then_stop}
    with pytest.raises(KeyboardInterrupt):
        run(images, root, tmp_path / "there", *more, **spread)
    run(images, root, tmp_path / "there", *more, executor=replace(executor, workers=1))

    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert len(killed) == 1


@pytest.mark.slow
def test_a_folder_scored_by_workers_gives_the_same_lines(cluster, models, paths, tmp_path):
    """Its path is relative to the command's directory, which is not the workers'."""
    root = models.bundle.root
    detector = OODDetector.from_classes(CLASSES, models=root).calibrate(paths, tpr=0.5)
    detector.save_pretrained(tmp_path / "detector")
    images = make_pictures(tmp_path / "many", classes=tuple("abcdefghijklmno"), count=10)
    command = [sys.executable, "-m", "synood", "score", "detector", images.name]
    command += ["--format", "jsonl", "--device", "cpu"]
    env = {**os.environ, **SETTINGS, "OMP_NUM_THREADS": "1"}  # as many threads as a worker
    spread = ["--executor", "ray", "--ray-address", cluster.address, "--workers", "2"]
    here, there = (
        subprocess.run([*command, *more], env=env, cwd=tmp_path, capture_output=True, text=True)
        for more in ([], spread)
    )
    assert there.returncode == here.returncode == 0, there.stderr
    assert there.stdout == here.stdout
    assert len(here.stdout.splitlines()) == 150
