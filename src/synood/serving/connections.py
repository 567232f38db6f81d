"""Connections of clients that are slow, idle or too many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

    from synood.serving.limits import Limits


def timed_protocol(limits: Limits) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol with a limit of connections, and of time for headers to come."""
    return type("TimedProtocol", (_TimedProtocol,), {"limits": limits})


class _TimedProtocol(H11Protocol):
    limits: Limits
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - as in uvicorn
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            transport.abort()
        else:
            self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._expect_head()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP; where it follows a request, nobody waits for that one's answer.

        uvicorn would let the application go on to answer, on a connection that has its answer.
        """
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:  # an answer was begun
            self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():  # at once, unless the client does not read the answer
            self.loop.call_later(self.limits.head_seconds, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        """Start the timer where no request is under way, whatever bits of one have come."""
        under_way = self.cycle is not None and not self.cycle.response_complete
        if under_way or self.transport.is_closing():
            self._stop_timer()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.head_seconds, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
