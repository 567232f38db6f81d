"""Request bodies: read as they come, counted, in time, and within what the server may hold."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from synood.serving.faults import RequestError, busy, malformed, too_large

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import TypeVar

    from starlette.requests import Request

    from synood.serving.limits import Limits

    T = TypeVar("T")


class ClientGoneError(Exception):
    """The client has closed the connection: there is nobody to answer."""


class Uploads:
    """The request bodies that a server holds; what is counted is what came, not what was said."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.held = 0  # bytes

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytearray]:
        """Yield a request's body, which counts as held until the block ends, also if cleared."""
        body, taken = bytearray(), 0
        try:
            async for chunk in self._chunks(request):
                self._check_room(len(body) + len(chunk), len(chunk))
                self.held += len(chunk)
                taken += len(chunk)
                body += chunk
            yield body
        finally:
            self.held -= taken

    async def _chunks(self, request: Request) -> AsyncIterator[bytes]:
        """Yield a body piece by piece, for so long as a body may take to arrive."""
        self._check_announced(request)
        end = time.monotonic() + self._limits.body_seconds
        more = True
        while more:
            try:
                message = await asyncio.wait_for(request.receive(), end - time.monotonic())
            except TimeoutError:
                seconds = self._limits.body_seconds
                raise RequestError(
                    408, "slow", f"the body did not arrive within {seconds:g} s; send it faster"
                ) from None
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            more = message.get("more_body", False)
            yield message.get("body", b"")

    def _check_room(self, size: int, more: int) -> None:
        if size > self._limits.body_bytes:
            raise self._too_large()
        if self.held + more > self._limits.upload_bytes:
            raise busy("the server holds as many uploads as it may; try again later", 1)

    def _check_announced(self, request: Request) -> None:
        """Refuse a body that says it is too large before it is read."""
        if request.headers.get("content-encoding", "identity") != "identity":
            raise RequestError(415, "malformed", "Content-Encoding: compressed bodies are not read")
        length = request.headers.get("content-length", "0")
        if not length.isdecimal():
            raise malformed("Content-Length: is no number")
        if int(length) > self._limits.body_bytes:
            raise self._too_large()

    def _too_large(self) -> RequestError:
        return too_large(f"the body is over {self._limits.max_body} MiB; send fewer images at once")


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Await `work` for a request whose body was read; cancel it where the client leaves first."""
    working = asyncio.ensure_future(work)
    working.add_done_callback(_forget)
    leaving = asyncio.ensure_future(_disconnected(request.receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGoneError
        return await working
    finally:
        leaving.cancel()
        working.cancel()


def _forget(work: asyncio.Future[T]) -> None:
    """Take note of how abandoned work ended, which asyncio would complain of otherwise."""
    if not work.cancelled():
        work.exception()


async def _disconnected(receive: Callable[[], Awaitable[object]]) -> None:
    while True:
        message = await receive()
        if isinstance(message, dict) and message.get("type") == "http.disconnect":
            return
