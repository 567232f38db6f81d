"""A real `synood serve` in its own process, and plain ways to ask it."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Running:
    """A server that listens; `log` has its standard error."""

    process: subprocess.Popen[str]
    host: str
    port: int
    log_file: Path

    def ask(
        self, method: str, path: str, body: Any = None, timeout: float = 60, **headers: str
    ) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, names)
            found = connection.getresponse()
            lower = {name.lower(): value for name, value in found.getheaders()}
            return Answer(found.status, lower, found.read())
        finally:
            connection.close()

    def score(self, images: Sequence[tuple[str, bytes]], query: str = "", **headers: str) -> Answer:
        body, kind = form(images)
        return self.ask("POST", f"/v1/score{query}", body, Content_Type=kind, **headers)

    def connected(self, timeout: float = 30) -> socket.socket:
        """A bare connection."""
        return socket.create_connection((self.host, self.port), timeout)

    def log(self) -> list[dict[str, Any]]:
        lines = self.log_file.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def metric(self, line_start: str) -> float:
        """The value of the one sample whose line starts so."""
        text = self.ask("GET", "/metrics").body.decode()
        lines = [line for line in text.splitlines() if line.startswith(f"{line_start} ")]
        assert len(lines) <= 1, lines
        return float(lines[0].split()[-1]) if lines else 0.0

    def memory(self) -> int:
        """Resident bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def ended(self, number: int = signal.SIGTERM, timeout: float = 30) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout)


@contextmanager
def running(
    detector: Path, log_file: Path, *options: object, env: dict[str, str] | None = None
) -> Iterator[Running]:
    """Start a server on a free port, and end it."""
    command = [sys.executable, "-m", "synood", "serve", str(detector)]
    if "--port" not in options:
        command += ["--port", "0"]
    with log_file.open("w") as log:
        process = subprocess.Popen(
            [*command, *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**ENV, **(env or {})},
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, log_file.read_text()
        host, port = line.strip().rpartition("http://")[2].split(":")
        yield Running(process, host, int(port), log_file)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def form(images: Sequence[tuple[str, bytes]], field: str = "files") -> tuple[bytes, str]:
    """A multipart form as browsers write it, and its content type."""
    # of the content, not at random: parameters of tests hold it, and workers compare these
    boundary = hashlib.sha256(b"".join(data for _, data in images)).hexdigest()[:32]
    parts = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        f"Content-Type: image/png\r\n\r\n".encode()
        + data
        + b"\r\n"
        for name, data in images
    )
    return parts + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Read one answer from a bare connection: its status and its body."""
    found = http.client.HTTPResponse(connection)
    found.begin()
    return found.status, found.read()


def request_head(body_length: int, kind: str, path: str = "/v1/score", more: str = "") -> bytes:
    """The line and headers of a POST request."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {body_length}\r\n{more}\r\n"
    ).encode()


def until(what: Any, seconds: float = 20) -> None:
    """Wait until `what()` is true."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
