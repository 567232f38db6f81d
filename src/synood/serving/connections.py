"""Connections of clients that are slow, idle or too many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

    from synood.serving.limits import Limits


def timed_protocol(limits: Limits) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol with limits: of connections, and of the time that clients take.

    Headers must come in `head_seconds`, and what is sent must be read in `body_seconds`.
    """
    return type("TimedProtocol", (_TimedProtocol,), {"limits": limits})


class _TimedProtocol(H11Protocol):
    limits: Limits
    _head_timer: asyncio.TimerHandle | None = None
    _reading_timer: asyncio.TimerHandle | None = None  # of a client that is to read its answer

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
        self._abort_later()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._abort_later()

    def pause_writing(self) -> None:
        """Wait for a client to read, but not for ever: a connection would be held by it."""
        super().pause_writing()
        if self._reading_timer is None:
            self._reading_timer = self.loop.call_later(
                self.limits.body_seconds, self.transport.abort
            )

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_reading_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_reading_timer()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        """Start the timer where no request is under way, whatever bits of one have come."""
        under_way = self.cycle is not None and not self.cycle.response_complete
        if under_way or self.transport.is_closing():
            self._stop_timer()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.head_seconds, self.transport.abort)

    def _abort_later(self) -> None:
        """End a connection that is closing, also where the client does not read its answer."""
        if self.transport.is_closing():
            self.loop.call_later(self.limits.head_seconds, self.transport.abort)

    def _stop_reading_timer(self) -> None:
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
