"""What one server takes at most, so that no client can exhaust its memory, threads or patience."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields

from synood.errors import InputError

MIB = 2**20
MILLION = 10**6


def _threads() -> int:
    return max(1, min(4, os.cpu_count() or 1))


@dataclass(frozen=True)
class Limits:
    """Limits of a server. The docstrings are the help of the command line."""

    max_body: int = 32
    """Largest request body in MiB; more is answered with 413."""

    max_files: int = 64
    """Maximum images per request (413)."""

    max_pixels: int = 50
    """Maximum megapixels of an image; larger ones are refused before they are decoded."""

    max_queue: int = 256
    """Maximum images that wait at once; beyond them the answer is 503 with Retry-After."""

    max_uploads: int = 256
    """Maximum MiB of request bodies held at once, of all clients together (503)."""

    max_connections: int = 512
    """Maximum open connections; one more is closed at once."""

    max_wait: float = 300
    """Milliseconds that a decoded image waits at most for others that are being decoded."""

    head_seconds: float = 10
    """Seconds for a request's line and headers to arrive."""

    body_seconds: float = 60
    """Seconds for a request's body to arrive (408), and for a client to read what it is sent."""

    decode_seconds: float = 10
    """Seconds for one image to be decoded; a longer one has an error in place of a score."""

    drain_seconds: float = 25
    """Seconds after SIGTERM in which accepted requests are answered."""

    drain_delay: float = 0
    """Seconds after SIGTERM in which new connections are accepted, while not ready any more."""

    decoders: int = _threads()
    """Threads that decode images."""

    def check(self) -> None:
        """Raise an `InputError` for limits that cannot be kept or contradict each other."""
        from synood.features.extractor import BATCH  # not at the top: the help is to come at once
        from synood.images.decoding import MAX_PIXELS

        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0 and not (field.name == "drain_delay" and value == 0):
                raise InputError(f"{_option(field.name)}: must be above 0, not {value}")
        if self.max_pixels * MILLION > MAX_PIXELS:
            most = MAX_PIXELS // MILLION
            raise InputError(f"--max-pixels: at most {most} (megapixels), not {self.max_pixels}")
        if self.max_queue < max(self.max_files, BATCH):
            raise InputError(
                f"--max-queue: {self.max_queue} is less than one request (--max-files "
                f"{self.max_files}) or one batch ({BATCH}); raise it"
            )
        if self.max_uploads < self.max_body:
            raise InputError(
                f"--max-uploads: {self.max_uploads} MiB is less than one request (--max-body "
                f"{self.max_body}); raise it"
            )

    @property
    def body_bytes(self) -> int:
        """`max_body` in bytes."""
        return self.max_body * MIB

    @property
    def upload_bytes(self) -> int:
        """`max_uploads` in bytes."""
        return self.max_uploads * MIB

    @property
    def pixels(self) -> int:
        """`max_pixels` in pixels."""
        return self.max_pixels * MILLION


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
