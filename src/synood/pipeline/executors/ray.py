"""The Ray executor: each worker of a Ray Data actor pool begins the task once, then does batches.

One batch is one block of the data set, so Ray assigns it whole and reassigns it when its worker is
lost. Workers return results and write nothing: only this process writes the run directory, whole
files only, so a killed run resumes with any number of workers.
"""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synood.executor import Task

B = TypeVar("B")
R = TypeVar("R")

ATTEMPTS = 4  # at a batch that ends its worker, so that it does not go on for ever
IN_FLIGHT = 2  # batches at a worker: one running, one waiting; what a lost worker delays
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no usage statistics are sent
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # Ray warns at each pool that actors need arguments
}
_ALONE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's word for: loopback only
    # Ray's own 15 leaves a worker a small part of what this process would get on a busy machine
    "RAY_worker_niceness": "0",
}
OBJECT_STORE = 256 * 2**20  # bytes, of a local cluster; it holds a few batches of images


@dataclass(frozen=True)
class RayExecutor:
    """Runs a task on `workers` processes of a connected Ray cluster.

    Each has `cpus` cores and as many threads; with `gpus` above 0 it uses the accelerator that Ray
    assigns to it.
    """

    workers: int
    cpus: int = 1
    gpus: float = 0

    def run(self, task: Task[B, R], batches: Sequence[B]) -> Iterator[tuple[int, R]]:
        """Yield each batch's number and result as the workers finish them.

        The batch of a lost worker or node is done again. A batch that ends its worker `ATTEMPTS`
        times is an `InputError`.
        """
        if not batches:
            return
        import ray.data
        from ray import cloudpickle

        tally = ray.remote(_Tally).options(num_cpus=0, **_here()).remote()
        with _own_context():
            rows = ray.data.from_items(
                [
                    {"number": i, "sealed": cloudpickle.dumps(batch)}
                    for i, batch in enumerate(batches)
                ],
                override_num_blocks=len(batches),
            )
            pool = ray.data.ActorPoolStrategy(
                size=min(self.workers, len(batches)), max_tasks_in_flight_per_actor=IN_FLIGHT
            )
            results = rows.map(
                _Worker,
                fn_constructor_args=(
                    cloudpickle.dumps(task),
                    tally,
                    self.cpus,
                    self.gpus > 0,
                    str(Path.cwd()),
                ),
                compute=pool,
                num_cpus=self.cpus,
                num_gpus=self.gpus,
            )
        for row in results.iter_rows():
            value = cloudpickle.loads(row["sealed"])
            if isinstance(value, InputError):
                raise value
            yield int(row["number"]), value


@contextmanager
def connected(
    address: str | None, workers: int | None = None, cpus: int = 1, gpus: float = 0
) -> Iterator[RayExecutor]:
    """Connect to the cluster at `address`, or start one on this machine, while the block runs.

    `workers` defaults to as many as the cluster has room for now. Raises `InputError` when Ray is
    not installed, when nothing answers at `address`, and when no worker finds room.
    """
    if find_spec("ray") is None:
        raise InputError("--executor ray needs Ray: pip install 'synood[ray]'")
    if cpus < 1 or gpus < 0 or (workers is not None and workers < 1):
        raise InputError("--workers and --worker-cpus must be at least 1, --worker-gpus at least 0")
    if address is not None and address.startswith("ray://"):
        raise InputError(
            f"--ray-address {address}: Ray clients are not supported; start synood on a node "
            "of the cluster and give host:port, or auto"
        )
    settings = _SETTINGS if address is not None else {**_SETTINGS, **_ALONE}
    for name, value in settings.items():
        os.environ.setdefault(name, value)  # read when Ray is imported
    import ray

    started = not ray.is_initialized()
    if started:
        _connect(address)
    try:
        room = _room(cpus, gpus)
        if not room and address is None:
            raise InputError(
                f"--worker-cpus {cpus} --worker-gpus {gpus:g}: no such worker fits on this "
                "machine; ask for less"
            )
        yield RayExecutor(workers or max(1, room), cpus, gpus)
    finally:
        if started:
            ray.shutdown()


class _Worker:
    """The actor of a worker: a task that has begun."""

    def __init__(
        self,
        task: bytes,  # pickled, so that an error in reading it is reported
        tally: Any,  # noqa: ANN401 - the handle of a `_Tally`
        threads: int,
        accelerated: bool,
        folder: str,  # the driver's working directory, which relative paths are below
    ) -> None:
        import torch
        from ray import cloudpickle

        from synood.models.device import pick_device
        from synood.models.memory import keep_freed_memory

        keep_freed_memory()
        if Path(folder).is_dir():
            os.chdir(folder)
        self._tally = tally
        torch.set_num_threads(threads)
        try:
            device = pick_device("auto") if accelerated else "cpu"
            self._work = cloudpickle.loads(task).begin(device)
        except InputError as error:
            self._work = _Refusing(error)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Do one batch; an `InputError` is a result, since a retry would raise it again.

        What is in `sealed` is pickled here: Ray Data takes a fifth of a second to find out that a
        list of features is no Arrow column.
        """
        import ray
        from ray import cloudpickle

        number = int(row["number"])
        result: object
        if ray.get(self._tally.begins.remote(number)) > ATTEMPTS:
            result = _fatal(number)
        else:
            try:
                result = self._work(cloudpickle.loads(row["sealed"]))
            except InputError as error:
                result = error
        return {"number": number, "sealed": cloudpickle.dumps(result)}


class _Tally:
    """An actor on the driver's node that counts how often each batch was begun.

    Ray's own limit counts every failure to reach a worker, several in the seconds after
    a node is lost, so it would end runs that are sound.
    """

    def __init__(self) -> None:
        self._begun: dict[int, int] = {}

    def begins(self, number: int) -> int:
        """Count one more beginning of a batch and return how many there were."""
        self._begun[number] = self._begun.get(number, 0) + 1
        return self._begun[number]


class _Refusing:
    """The work of a task that could not begin."""

    def __init__(self, error: InputError) -> None:
        self._error = error

    def __call__(self, batch: object) -> object:
        """Raise the error."""
        raise self._error


def _fatal(number: int) -> InputError:
    return InputError(
        f"batch {number} ended its worker {ATTEMPTS} times, most likely because memory ran out; "
        "use fewer workers on a node or a smaller --batch-size"
    )


def _here() -> dict[str, Any]:
    """Return the options that bind an actor to the node of this process."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    node = ray.get_runtime_context().get_node_id()
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}


def _connect(address: str | None) -> None:
    import ray

    common: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": False}
    try:
        if address is None:
            ray.init("local", object_store_memory=OBJECT_STORE, include_dashboard=False, **common)
        else:
            ray.init(address, **common)
    except (ConnectionError, RuntimeError, ValueError) as error:
        place = "on this machine" if address is None else f"at {address}"
        raise InputError(f"no Ray cluster {place} ({str(error).splitlines()[0]})") from None


def _room(cpus: int, gpus: float) -> int:
    """Return how many workers fit on the cluster's nodes."""
    import ray

    totals = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(
        int(min(total.get("CPU", 0) / cpus, total.get("GPU", 0) / gpus if gpus else float("inf")))
        for total in totals
    )


@contextmanager
def _own_context() -> Iterator[None]:
    """Turn off Ray Data's messages and progress bars for data sets made in the block."""
    from ray.data import DataContext

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    own = DataContext.get_current().copy()
    own.enable_progress_bars = False
    with DataContext.current(own):
        yield
