"""What the routes share: the detectors, the worker, and how the images of a request are scored."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from synood.serving.bodies import unless_gone
from synood.serving.faults import RequestError, malformed
from synood.serving.worker import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeVar

    from starlette.requests import Request

    from synood.detector import Prediction
    from synood.serving.bodies import Uploads
    from synood.serving.forms import Upload
    from synood.serving.limits import Limits
    from synood.serving.metrics import Metrics
    from synood.serving.served import Served
    from synood.serving.worker import Worker

    T = TypeVar("T")

PARSED_AT_ONCE = 2  # bodies; JSON takes up to ten times their bytes meanwhile


@dataclass
class Service:
    """One server; `draining` from the first SIGTERM on."""

    detectors: Mapping[str, Served]
    worker: Worker
    limits: Limits
    metrics: Metrics
    uploads: Uploads
    draining: bool = False
    _parsing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PARSED_AT_ONCE))

    @property
    def ready(self) -> bool:
        """Whether new requests are wanted."""
        return self.worker.alive and not self.draining

    def served(self, name: str | None) -> Served:
        """Return a detector by its name; without a name, the only one."""
        if name is None and len(self.detectors) == 1:
            return next(iter(self.detectors.values()))
        if name is None:
            raise malformed(f"model: name one of {self._names()}, as ?model=NAME")
        if name not in self.detectors:
            raise RequestError(
                404, "unknown_model", f"no model {name[:80]!r} here; use {self._names()}"
            )
        return self.detectors[name]

    def _names(self) -> str:
        names = [*self.detectors]
        return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")

    async def parsed(self, body: bytearray, parse: Callable[[bytearray], T]) -> T:
        """Return what a body says, and forget the body; few are parsed at a time."""
        async with self._parsing:
            found = await asyncio.to_thread(parse, body)
        body.clear()
        return found

    async def predictions(
        self, request: Request, served: Served, images: Sequence[Upload], explain: bool = False
    ) -> list[Prediction]:
        """Return the predictions of a request's images, in their order.

        Raises `RequestError` where there is no room, `ClientGoneError` where the client leaves.
        """
        request.state.model, request.state.images = served.name, len(images)
        jobs = [Job(served, image.name, image.data, explain) for image in images]
        self.worker.submit(jobs)
        found = asyncio.gather(*(asyncio.wrap_future(job.future) for job in jobs))
        return await unless_gone(request, found)
