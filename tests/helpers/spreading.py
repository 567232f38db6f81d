"""A real Ray cluster of two nodes on this machine, and tasks that end their own worker."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import synood

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synood.executor import Task

# Loopback only; no token of the user's; nothing is sent to anybody.
SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_worker_niceness": "0",  # with Ray's own 15, workers starve on a busy machine
}
os.environ.update(SETTINGS)  # Ray reads some when it is imported
STORE = 100 * 2**20  # bytes of shared memory on each node


@contextmanager
def cluster_of_two(cpus: int = 1) -> Iterator[object]:
    """Start a head and one more node; the workers import what the tests import."""
    with pytest.MonkeyPatch.context() as patch:
        places = (Path(synood.__file__).parents[1], Path(__file__).parent)
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, places)))
        from ray.cluster_utils import Cluster

        node = {"num_cpus": cpus, "object_store_memory": STORE}
        cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        try:
            cluster.add_node(**node)
            yield cluster
        finally:
            cluster.shutdown()


@dataclass(frozen=True)
class Fatal:
    """Does what `task` does, but ends its worker in the middle of batch `victim`, `times` times.

    Batches are told apart by their first item; `marks` is a folder that outlives the workers.
    """

    task: Task
    victim: object
    marks: Path
    times: int = 1

    def begin(self, device=None):
        work = self.task.begin(device)

        def dying(batch):
            result = work(batch)
            if batch[0] == self.victim and len(list(self.marks.iterdir())) < self.times:
                (self.marks / str(os.getpid())).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            (self.marks.parent / f"done-{os.getpid()}").touch()
            return result

        return dying


@dataclass(frozen=True)
class Bulky:
    """Gives eight megabytes for each batch and leaves a mark for it."""

    marks: Path

    def begin(self, device=None):
        def work(number):
            (self.marks / str(number)).touch()
            return np.full(2**20, number, np.int64)

        return work


@dataclass(frozen=True)
class Niceness:
    """Gives the niceness of the process that works."""

    def begin(self, device=None):
        return lambda batch: os.nice(0)
