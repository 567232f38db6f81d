"""PNG files with large metadata: texts and colour profiles that a decoder refuses are left out.

Pillow reads a compressed text of at most a megabyte and all texts of at most 64, and else calls the
file damaged. Pixels do not depend on them.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_CHUNK = 2**20 - 1  # bytes of a compressed text once decompressed
MAX_ALL = 2**26 - 1  # of all texts of a file
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_OVERHEAD = 12  # bytes of a chunk beside its body: length, name and checksum


def without_large_texts(data: bytes) -> bytes:
    """Return a PNG file without texts and colour profiles above the limits, else `data` itself."""
    if not data.startswith(SIGNATURE):
        return data
    kept, start, total = [], 0, 0
    for begin, end, name in _chunks(data):
        if name not in _TEXTS:
            continue
        body = data[begin + 8 : end - 4]
        packed = _packed(name, body)
        size = len(body) if packed is None else _unpacked_size(packed)
        if (packed is not None and size > MAX_CHUNK) or total + size > MAX_ALL:
            kept.append(data[start:begin])
            start = end
        else:
            total += size
    return b"".join([*kept, data[start:]]) if kept else data


def _chunks(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield where each whole chunk begins and ends, and its name."""
    begin = len(SIGNATURE)
    while begin + _OVERHEAD <= len(data):
        end = begin + _OVERHEAD + int.from_bytes(data[begin : begin + 4], "big")
        if end > len(data):
            return
        yield begin, end, data[begin + 4 : begin + 8]
        begin = end


def _packed(name: bytes, body: bytes) -> bytes | None:
    """Return the compressed part of a text or profile, None where nothing is compressed."""
    fields = body.split(b"\0", 1)[-1]  # after the keyword
    if name in (b"zTXt", b"iCCP"):
        return fields[1:]  # after the method
    if name == b"iTXt" and fields[:1] == b"\1":
        return fields[2:].split(b"\0", 2)[-1]  # after method, language and translated keyword
    return None


def _unpacked_size(packed: bytes) -> int:
    """Return how many bytes the deflated data has, counted up to just above the limit."""
    try:
        return len(zlib.decompressobj().decompress(packed, MAX_CHUNK + 1))
    except zlib.error:
        return len(packed)
