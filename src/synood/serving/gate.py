"""What every request goes through: its id, the key, the log, the headers, and the end of its body.

A request that is refused before its body was read is answered at once; what still comes is thrown
away for a moment, so that the client gets to read the answer, and the connection is closed.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from typing import TYPE_CHECKING

from synood.serving.faults import RequestError
from synood.serving.keys import shows_key
from synood.serving.log import event
from synood.serving.refusals import GONE, refusal_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from synood.serving.metrics import Metrics

OPEN = frozenset({"/", "/v2/health/live", "/v2/health/ready"})  # no key is needed
LINGER = 2.0  # seconds in which the rest of a refused body is thrown away
_SANE_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_HEADERS = (
    (b"content-security-policy", (
        b"default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; "
        b"base-uri 'none'; form-action 'self'"
    )),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)  # fmt: skip


class Gate:
    """The application as uvicorn runs it; `open_paths` are answered without the key."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, key: str | None, open_paths: frozenset[str]
    ) -> None:
        self._app, self._metrics, self._key = app, metrics, key
        self._open = OPEN | open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        scope.setdefault("state", {})["request_id"] = exchange.id
        try:
            await self._app_for(scope, exchange)(scope, exchange.receive, exchange.send)
        except Exception:
            exchange.failed = True
            logging.getLogger("synood.serving").exception(
                "fault", extra={"fields": {"request_id": exchange.id}}
            )
        self._tell(scope, exchange)

    def _app_for(self, scope: Scope, exchange: _Exchange) -> ASGIApp:
        if self._key is None or scope["path"] in self._open:
            return self._app
        if shows_key(exchange.headers.get(b"authorization", b"").decode("latin-1"), self._key):
            return self._app
        fault = RequestError(
            401,
            "key",
            "this server wants its key, as Authorization: Bearer KEY",
            {"WWW-Authenticate": "Bearer"},
        )
        self._metrics.error(fault.kind)
        return refusal_response(scope["path"], fault)

    def _tell(self, scope: Scope, exchange: _Exchange) -> None:
        """Log and count a request."""
        seconds = time.monotonic() - exchange.began
        status = exchange.status or GONE
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.request(route, status, seconds)
        state = scope["state"]
        event(
            "request",
            request_id=exchange.id,
            client=(scope.get("client") or ("",))[0],
            method=scope["method"],
            path=scope["path"][:200],
            status=status,
            ms=round(1000 * seconds, 1),
            bytes=exchange.received or None,
            images=state.get("images"),
            model=state.get("model"),
            detail=state.get("detail"),
        )


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.began = time.monotonic()
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        given = self.headers.get(b"x-request-id", b"").decode("latin-1")
        self.id = given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex
        self.status = self.received = 0
        self.failed = False
        self._receive, self._send = receive, send
        length = self.headers.get(b"content-length", b"0").strip(b"0")
        self._unread = bool(length) or b"transfer-encoding" in self.headers

    async def receive(self) -> Message:
        message = await self._receive()
        self.received += len(message.get("body", b""))
        if not message.get("more_body", False):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", []), *_HEADERS, (b"x-request-id", self.id.encode())]
            if self._unread:
                headers.append((b"connection", b"close"))
            await self._send({**message, "headers": headers})
        elif self._unread and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._throw_away()
            await self._send({"type": "http.response.body", "body": b""})
        else:
            await self._send(message)

    async def _throw_away(self) -> None:
        try:
            async with asyncio.timeout(LINGER):
                while self._unread:
                    await self.receive()
        except TimeoutError:
            return
