"""uvicorn with a drain of its own: not ready at the first signal, answers, exit code 0."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

import uvicorn

from synood.errors import InputError
from synood.serving.app import create_app
from synood.serving.bodies import Uploads
from synood.serving.connections import timed_protocol
from synood.serving.log import event
from synood.serving.metrics import Metrics
from synood.serving.service import Service
from synood.serving.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    from synood.serving.limits import Limits
    from synood.serving.served import Served

KEEP_ALIVE = 15  # seconds that a connection without a request stays open
HEAD_BYTES = 65_536  # of a request's line and headers
_STOPPED = 128  # exit code of a process that a signal ended, less the signal


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a bound socket, not yet listening; `InputError` where that is not possible."""
    if not 0 <= port < 2**16:  # getaddrinfo would take what is left of it
        raise InputError(f"--port: must be from 0 to 65535, not {port}")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with contextlib.ExitStack() as kept:
            listener = kept.enter_context(socket.socket(family, kind, protocol))
            if os.name == "posix":  # elsewhere it lets two servers share a port
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # finds vanished clients
            listener.bind(address)
            kept.pop_all()
            return listener
    except socket.gaierror as error:
        raise InputError(
            f"--host {host}: is no address of this machine ({error.strerror})"
        ) from None
    except OSError as error:
        what = {
            errno.EADDRINUSE: f"--port {port}: is in use; stop what listens there or name another",
            errno.EACCES: f"--port {port}: may not be opened by this user; use one above 1023",
            errno.EADDRNOTAVAIL: f"--host {host}: is no address of this machine",
        }
        known = what.get(error.errno or 0, f"{host}:{port}: cannot be opened ({error.strerror})")
        raise InputError(known) from None


def serve(
    listener: socket.socket,
    detectors: Mapping[str, Served],
    limits: Limits,
    key: str | None = None,
    told: Callable[[str], None] = lambda url: None,
) -> None:
    """Answer requests until SIGTERM or Ctrl-C, and then those that were accepted.

    `told` is called with the server's address when it listens.
    """
    metrics = Metrics()
    uploads = Uploads(limits)
    service = Service(detectors, Worker(limits, metrics), limits, metrics, uploads)
    metrics.watch_queue(lambda: service.worker.waiting, lambda: uploads.held)
    for served in detectors.values():
        metrics.announce(served)
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    config = uvicorn.Config(
        create_app(service, key),
        loop="asyncio",
        http=timed_protocol(limits),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=HEAD_BYTES,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, round(limits.drain_seconds)),
    )

    def listening() -> None:
        event("listening", url=url, models=[*detectors])
        told(url)

    server = _Server(config, service, listening)
    try:
        server.run([listener])
    finally:
        service.worker.stop()
        event("stopped")


class _Server(uvicorn.Server):
    """Drains at the first signal, ends at the second."""

    def __init__(
        self, config: uvicorn.Config, service: Service, listening: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._service, self._listening = service, listening
        self._drain_from = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listening()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals; not as uvicorn, which raises them once more in the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._service.draining:
            sys.stderr.flush()
            os._exit(_STOPPED + sig)  # what is still being decoded would hold up anything gentler
        self._service.draining = True
        self._drain_from = time.monotonic()

    async def on_tick(self, counter: int) -> bool:
        if self._service.draining and not self.should_exit:
            waited = time.monotonic() - self._drain_from
            self.should_exit = waited >= self._service.limits.drain_delay
            if self.should_exit:
                event("draining", images=self._service.worker.waiting)
        return await super().on_tick(counter)
