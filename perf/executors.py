"""What a Ray worker makes a user wait, and the gain of a second one: python perf/executors.py.

Starts a cluster of two nodes on this machine, whose workers have the niceness of this process. Two
kinds of batches: images encoded by the embedded encoder on one thread, and ones that wait instead
of computing, so that the gain does not depend on the number of free cores. `synood bench --only
ray` has the processor time.
"""

from __future__ import annotations

import argparse
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch

from synood.benchmark.speed.executors import batches_of_files
from synood.executor import in_order
from synood.models.bundles import load_bundle
from synood.models.loaded import Models
from synood.models.memory import keep_freed_memory
from synood.pipeline.executors.local import LocalExecutor
from synood.pipeline.executors.tasks import Encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from synood.executor import Executor, Task

SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "PYTHONPATH": os.pathsep.join((str(Path(__file__).parent), os.environ.get("PYTHONPATH", ""))),
}


@dataclass(frozen=True)
class Wait:
    """Waits for the seconds that a batch says."""

    def begin(self, device: str | None = None) -> Callable[[float], float]:
        def work(seconds: float) -> float:
            time.sleep(seconds)
            return seconds

        return work


@dataclass(frozen=True)
class Timing:
    """`first` and `last` are the seconds from the call to the first and to the last result."""

    first: float
    last: float
    results: list

    def between(self, batches: int) -> float:
        """Seconds a batch of one worker, without what it takes to start it."""
        return (self.last - self.first) / (batches - 1)

    def working(self, wait: float) -> float:
        """Seconds from when the workers began with batches of `wait` seconds to the last result."""
        return self.last - self.first + wait


@contextmanager
def cluster_of_two() -> Iterator[str]:
    os.environ.update(SETTINGS)
    os.environ.setdefault("RAY_worker_niceness", "0")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        cluster.add_node(**node)
        yield cluster.address
    finally:
        cluster.shutdown()


def timed(executor: Executor, task: Task, batches: Sequence) -> Timing:
    start, first, found = time.perf_counter(), 0.0, []
    for pair in executor.run(task, batches):
        first = first or time.perf_counter() - start
        found.append(pair)
    return Timing(first, time.perf_counter() - start, in_order(iter(found)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoded", type=int, default=16, help="batches of 64 images")
    parser.add_argument("--wait", type=float, default=0.25, help="seconds per batch")
    parser.add_argument("--batches", type=int, default=80)
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as the workers do
    from synood.pipeline.executors.ray import connected

    encode = Encode(Models(load_bundle("mini"), "cpu"))
    with (
        TemporaryDirectory() as folder,
        cluster_of_two() as address,
        connected(address, workers=2) as two,
    ):
        one = replace(two, workers=1)
        print(f"load before: {os.getloadavg()[0]:.1f}")
        batches = batches_of_files(Path(folder), given.encoded, 64)
        here, there = (timed(e, encode, batches) for e in (LocalExecutor(), one))
        same = np.array_equal(*(np.concatenate(timing.results) for timing in (here, there)))
        count = given.encoded
        print(f"{count} batches of 64 images encoded, one thread, bytes equal: {same}")
        for name, timing in (("this process", here), ("one Ray worker", there)):
            print(
                f"  {name:<16} first batch after {timing.first:6.2f} s, "
                f"then {1e3 * timing.between(count):7.1f} ms a batch"
            )
        print(f"  ratio, once at work: {there.between(count) / here.between(count):.3f}")

        waits = [given.wait] * given.batches
        local, alone, both = (timed(e, Wait(), waits) for e in (LocalExecutor(), one, two))
        print(f"{given.batches} batches that wait {given.wait} s")
        for name, timing in (
            ("this process", local),
            ("one Ray worker", alone),
            ("two Ray workers", both),
        ):
            print(
                f"  {name:<16} first batch after {timing.first:6.2f} s, all "
                f"{timing.working(given.wait):6.2f} s after the start of the workers"
            )
        more, gain = (
            pair[0].working(given.wait) / pair[1].working(given.wait)
            for pair in ((alone, local), (alone, both))
        )
        print(f"  ratio of one worker to this process: {more:.3f}; gain of the second: {gain:.2f}")
        print(f"load after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
