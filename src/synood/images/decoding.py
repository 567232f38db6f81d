"""From an image file to RGB pixels.

Read as 8-bit RGB: with the EXIF orientation applied, transparency laid over white, 16 bits cut to
the upper 8, the first frame of an animation, CMYK and palettes converted. The kind of file shows in
its bytes, whatever its suffix says. Colour profiles are ignored, as in the encoders' training.

Refused, with an `InputError` that names the file: an empty, damaged or cut-off file, another kind
of file (`kinds.py`), a folder, pipe, socket or device whatever its name, more than `MAX_PIXELS` or
`MAX_BYTES`, and numbers without a fixed range.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import time
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from synood.errors import InputError
from synood.files import readable, sha256_bytes
from synood.images._quiet import pillow_quiet
from synood.images.kinds import HEAD, READ, kind_of
from synood.images.png import SIGNATURE, without_large_texts
from synood.images.reading import UPRIGHT
from synood.images.remote import RemotePath

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synood.images.reading import Reading


MAX_PIXELS = 89_478_485  # 256 MiB of RGB, where Pillow begins to speak of decompression bombs
MAX_SCANS = 100  # of a JPEG; progressive ones have about ten
MAX_BYTES = 2**30  # more than MAX_PIXELS take uncompressed with 16 bits and transparency

# What Pillow's decoders raise on damaged files: the first three under random changes of bytes,
# the others in rarer corners of its readers.
_DAMAGE = (
    *(OSError, ValueError, SyntaxError),
    *(EOFError, LookupError, TypeError, ArithmeticError, RuntimeError, struct.error, zlib.error),
)
_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(path: Path, sha256: str | None = None, *, reading: Reading = UPRIGHT) -> Image.Image:
    """Decode an image file into RGB of 8 bits; see the module for what is done and refused.

    With `sha256`, a file that no longer holds those bytes is an `InputError` as well. `reading` may
    ask for pixels as published benchmarks read them, or for JPEGs at a reduced size.
    """
    data = image_bytes(path)
    if sha256 is not None and sha256_bytes(data) != sha256:
        raise InputError(f"{readable(path)}: its content has changed since the run chose it")
    return decode(data, path, reading=reading)


def decode(
    data: bytes,
    path: Path,
    *,
    reading: Reading = UPRIGHT,
    max_pixels: int = MAX_PIXELS,
    seconds: float | None = None,
) -> Image.Image:
    """Decode the bytes of an image file, as `read_image`; `path` is for what errors say.

    Bytes of strangers may be given less than `MAX_PIXELS`, and `seconds`, after which a decoder is
    stopped when it asks for more of them. That and a JPEG of more than `MAX_SCANS`, which takes
    long without asking, are then an `InputError`.
    """
    name, data = readable(path), without_large_texts(data)
    file = io.BytesIO(data)
    if seconds is not None:
        _refuse_many_scans(data, name)
        file = _Timed(data, seconds, name)
    with _header(file, len(data), name, max_pixels) as image:
        reading.prepare(image)
        return _pixels(image, name, reading.plain)


class _Timed(io.BytesIO):
    """Bytes that can be read for some seconds; Pillow's decoders read 64 kB at a time."""

    def __init__(self, data: bytes, seconds: float, name: str) -> None:
        super().__init__(data)
        self._end, self._seconds, self._name = time.monotonic() + seconds, seconds, name

    def read(self, size: int | None = -1, /) -> bytes:
        if time.monotonic() > self._end:
            raise InputError(f"{self._name}: takes more than {self._seconds:g} s to decode")
        return super().read(size)


def _refuse_many_scans(data: bytes, name: str) -> None:
    if data.startswith(b"\xff\xd8") and data.count(b"\xff\xda") > MAX_SCANS:
        raise InputError(
            f"{name}: more than {MAX_SCANS} scans, which no camera writes; save it anew"
        )


def from_opened(image: Image.Image, *, reading: Reading = UPRIGHT) -> Image.Image:
    """Return an opened image as `read_image` returns its file, with the same refusals.

    It is decoded at its whole size: a reduced one would stay so for the caller, too.
    """
    name = readable(Path(getattr(image, "filename", "") or "opened image"))
    if 0 in image.size:
        raise InputError(f"{name}: has no pixels ({image.width} x {image.height})")
    try:
        return _pixels(image, name, reading.plain)
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(f"{name}: the image is damaged or cut off ({error})") from None


def _pixels(image: Image.Image, name: str, plain: bool) -> Image.Image:
    image.load()
    if plain:
        return image.convert("RGB")
    return _upright(_to_rgb(image, name), image)


def image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) as stored, from the file's header alone; refuses as `read_image`."""
    with _opened(path) as (file, size):
        if file.read(len(SIGNATURE)) == SIGNATURE:
            file = io.BytesIO(without_large_texts(SIGNATURE + file.read()))
        file.seek(0)
        with _header(file, size, readable(path)) as image:
            return image.size


def image_bytes(path: Path) -> bytes:
    """Read a file that may be an image: a plain file of at most `MAX_BYTES`; never waits."""
    with _opened(path) as (file, _):
        return file.read()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Yield a plain file and its size. What would block or never end is refused."""
    name = readable(path)
    if "\0" in name:
        raise InputError(f"{name!r}: cannot be read (no file name holds NUL)")
    try:
        if isinstance(path, RemotePath):
            with path.open() as file:
                yield file, _bounded(path.stat().st_size, name)
            return
        # O_NONBLOCK (not on Windows): a named pipe would keep us until somebody writes to it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise InputError(f"{name}: cannot be read (not a plain file)")
        with os.fdopen(descriptor, "rb") as file:
            yield file, _bounded(status.st_size, name)
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror or error})") from None


def _bounded(size: int, name: str) -> int:
    if size > MAX_BYTES:
        raise InputError(f"{name}: {size} bytes, more than {MAX_BYTES}; shrink it")
    return size


@contextmanager
def _header(
    file: BinaryIO, size: int, name: str, max_pixels: int = MAX_PIXELS
) -> Iterator[Image.Image]:
    """Yield the opened image; what goes wrong in the block is the file's damage."""
    try:
        # Pillow warns of odd metadata, which do not matter here, and of sizes, refused below.
        with pillow_quiet(), Image.open(file, formats=READ) as image:
            if image.width * image.height > max_pixels:
                raise _too_large(name, f"{image.width} x {image.height}", max_pixels)
            yield image
    except UnidentifiedImageError:
        if size == 0:
            raise InputError(f"{name}: the file is empty (0 bytes)") from None
        raise InputError(f"{name}: {_not_read(file)}") from None
    except Image.DecompressionBombError:
        raise _too_large(name, f"over {2 * MAX_PIXELS}", max_pixels) from None
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(f"{name}: the image is damaged or cut off ({error})") from None


def _not_read(file: BinaryIO) -> str:
    """Say why Pillow does not know a file."""
    file.seek(0)
    kind = kind_of(file.read(HEAD))
    if kind is None:
        return f"not an image, or of a kind not read here ({', '.join(READ)})"
    if kind in READ:
        return f"the image is damaged or cut off (its {kind} header)"
    return f"{kind} images are not read here; convert it to JPEG or PNG"


def _too_large(name: str, found: str, most: int) -> InputError:
    return InputError(f"{name}: {found} pixels are more than the limit of {most}; shrink it")


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Convert any mode that the formats know; the caller has loaded the pixels."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        # The upper byte, which is what Pillow itself keeps of 16-bit colour.
        high = np.asarray(image).astype(np.int64).clip(0, 65535) >> 8
        return Image.fromarray(high.astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise InputError(f"{name}: its numbers have no fixed range; save it with 8 or 16 bits")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _upright(rgb: Image.Image, source: Image.Image) -> Image.Image:
    """Turn `rgb` as the EXIF data of `source` say; unreadable EXIF data count as none."""
    try:
        turn = _TURNS.get(source.getexif().get(_ORIENTATION_TAG, 1))
    except _DAMAGE:
        turn = None
    if turn is None:
        return rgb
    turned = rgb.transpose(turn)
    turned.info = {}  # which Pillow copies: the orientation in it would turn the image once more
    return turned
