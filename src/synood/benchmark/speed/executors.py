"""The row of `synood bench` about Ray: batches of images by one worker, beside this process."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from PIL import Image

from synood.benchmark.speed import processes
from synood.benchmark.speed.timing import Timed
from synood.features.extractor import ImageFile
from synood.files import sha256_file
from synood.pipeline.executors.local import LocalExecutor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from synood.executor import Executor, Task

B = TypeVar("B")
R = TypeVar("R")

BATCHES, IMAGES = 9, 64  # images of a batch; the first batch does not count
RUNS = 3  # at most: Ray starts its worker anew in each


@dataclass(frozen=True)
class Clocked(Generic[B, R]):
    """A task whose results come with the CPU seconds of the process that does it, at their end."""

    task: Task[B, R]

    def begin(self, device: str | None = None) -> Callable[[B], tuple[R, float]]:
        """Begin the task."""
        work = self.task.begin(device)
        return lambda batch: (work(batch), time.process_time())


def batches_of_files(folder: Path, batches: int, images: int) -> list[list[ImageFile]]:
    """Write PNGs of 128 x 128 pixels of noise, and deal them out."""
    rng, files = np.random.default_rng(0), []
    for number in range(batches * images):
        path = folder / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)).save(path)
        files.append(ImageFile(path, sha256_file(path)))
    return [files[start : start + images] for start in range(0, len(files), images)]


def seconds_per_batch(
    executor: Executor, task: Task[B, R], batches: Sequence[B]
) -> tuple[float, float]:
    """Return CPU seconds a batch, once at work: of the process that works, and of all of them.

    All of them are this process and those that descend from it, so the cluster is to be its own.
    """
    clocks, everything = [], []
    for _, (_, clock) in executor.run(Clocked(task), batches):
        clocks.append(clock)
        if len(clocks) in (1, len(batches)):
            everything.append(processes.family_seconds(os.getpid()))
    between = len(batches) - 1
    return (max(clocks) - min(clocks)) / between, (everything[-1] - everything[0]) / between


def ray(folder: Path, runs: int) -> list[Timed]:
    """Images encoded by one Ray worker, beside the same in this process."""
    what = f"a batch of {IMAGES} images encoded, one worker"
    if find_spec("ray") is None:
        return [Timed("ray", what, None, {}, ("the extra ray",))]
    if not processes.can_be_watched():
        return [Timed("ray", what, None, {}, (processes.MISSING,))]
    import torch

    from synood.models.bundles import load_bundle
    from synood.models.loaded import Models
    from synood.models.memory import keep_freed_memory
    from synood.pipeline.executors.ray import connected
    from synood.pipeline.executors.tasks import Encode

    keep_freed_memory()  # as the worker does
    task = Encode(Models(load_bundle("mini"), "cpu"))
    batches = batches_of_files(folder, BATCHES, IMAGES)
    here, there = [seconds_per_batch(LocalExecutor(), task, batches)[0]], []
    with connected(None, workers=1, cpus=torch.get_num_threads()) as executor:
        for _ in range(min(runs, RUNS)):
            here.append(seconds_per_batch(LocalExecutor(), task, batches)[0])
            there.append(seconds_per_batch(executor, task, batches))
    peers = {"in this process": 1e3 * min(here)}
    worker, everything = (1e3 * min(side) for side in zip(*there, strict=True))
    return [
        Timed("ray", what, worker, peers),
        Timed("ray", "the same with all of Ray's processes", everything, peers),
    ]
