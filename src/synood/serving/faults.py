"""What a request is refused with: a status, a sentence for the client, and a kind to count by."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class RequestError(Exception):
    """A request that is refused; `kind` is a label of `synood_errors_total`."""

    def __init__(
        self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.headers = dict(headers or {})


def malformed(detail: str) -> RequestError:
    """Return the fault of a request that cannot be understood."""
    return RequestError(400, "malformed", detail)


def too_large(detail: str) -> RequestError:
    """Return the fault of a request that is larger than a limit."""
    return RequestError(413, "too_large", detail)


def busy(detail: str, seconds: int) -> RequestError:
    """Return the fault of a request that comes while there is no room; `seconds` to come again."""
    return RequestError(503, "busy", detail, {"Retry-After": str(seconds)})
