"""The options of commands whose work other processes and machines may do."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synood.pipeline.executors.local import Executor


@Parameter(name="*")
@dataclass(frozen=True)
class Spread:
    """Who does the heavy work."""

    executor: Literal["local", "ray"] = "local"
    """Who does the heavy work: this process, or the workers of a Ray cluster."""

    ray_address: Annotated[str | None, Parameter(show_default=False)] = None
    """The cluster, as host:port or "auto"; without it one is started on this machine."""

    workers: Annotated[int | None, Parameter(show_default=False)] = None
    """Processes of the cluster that work; without it, as many as it has room for."""

    worker_cpus: int = 1
    """Cores, and so threads, of each worker."""

    worker_gpus: float = 0
    """Accelerators of each worker; 0.5 lets two share one."""

    @contextmanager
    def opened(self) -> Iterator[Executor]:
        """Yield the executor that the options ask for."""
        if self.executor == "local":
            if self != Spread():
                raise InputError(
                    "--workers, --worker-cpus, --worker-gpus and --ray-address need --executor ray"
                )
            from synood.pipeline.executors.local import LocalExecutor

            yield LocalExecutor()
            return
        from synood.pipeline.executors.ray import connected

        with connected(
            self.ray_address, self.workers, self.worker_cpus, self.worker_gpus
        ) as executor:
            yield executor


HERE = Spread()
