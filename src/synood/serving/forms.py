"""Files in a multipart form (RFC 7578), out of a body that is whole and bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from synood.serving.faults import RequestError, malformed, too_large

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FIELD = "files"
_CHUNK = 2**20


@dataclass(frozen=True)
class Upload:
    """A file of a form under the name that the client gave it."""

    name: str
    data: bytes


def uploads_of(body: bytearray, content_type: str, most: int) -> list[Upload]:
    """Return the files of the field `files`, in their order; at most `most` of them.

    Raises `RequestError` for another kind of body, a broken one, other fields and no file.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise RequestError(
            415, "malformed", f"Content-Type: send the images as multipart/form-data, field {FIELD}"
        )
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise malformed("Content-Type: multipart/form-data needs a boundary")
    collected = _Collected(most)
    try:
        parser = MultipartParser(boundary, collected.callbacks())
        for start in range(0, len(body), _CHUNK):
            parser.write(bytes(memoryview(body)[start : start + _CHUNK]))
        parser.finalize()
    except FormParserError as error:
        raise malformed(f"the form is broken: {error}") from None
    if not collected.ended:
        raise malformed("the form is broken: it ends before its last boundary")
    if not collected.uploads:
        raise malformed(f"the form has no file; send the images in the field {FIELD}")
    return collected.uploads


class _Collected:
    """The files found so far."""

    def __init__(self, most: int) -> None:
        self.uploads: list[Upload] = []
        self.ended = False
        self._most = most
        self._headers: dict[bytes, bytes] = {}
        self._field = self._value = b""
        self._data = bytearray()

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.uploads) == self._most:
            raise too_large(f"more than {self._most} files; send fewer at once")
        self._headers, self._data = {}, bytearray()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]

    def _part_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        field = options.get(b"name", b"").decode("utf-8", "replace")
        if field != FIELD:
            raise malformed(f"the form has a field {field[:40]!r}; send images in {FIELD}")
        if b"filename" not in options:
            raise malformed(f"the form has text in {FIELD}, not a file (curl: -F {FIELD}=@NAME)")
        name = options[b"filename"].decode("utf-8", "replace")
        self.uploads.append(Upload(name or f"image {len(self.uploads) + 1}", bytes(self._data)))
        self._data = bytearray()

    def _end(self) -> None:
        self.ended = True
