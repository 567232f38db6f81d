"""Writing that never leaves half a file: each is written under a temporary name, then renamed.

The bytes are on the disk before the name is, so that no end of power leaves an empty file under a
final name; the name itself may be lost then, and with it that one piece of work.
"""

from __future__ import annotations

import codecs
import ctypes
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import unicodedata
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MARKS = {  # byte-order marks
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_HALVES = re.compile(r"\\u[dD][89a-fA-F]")  # escapes that are a character in pairs alone
MAX_TEXT = 2**30  # bytes of a text that is read whole; ImageNet's longest list has 70 MB


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it over `path` when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(0o644)  # mkstemp makes files only their owner can read
        sync(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def replacing_directory(path: Path) -> Iterator[Path]:
    """Yield an empty directory beside `path`; rename it to `path` on success.

    Where the system can exchange two directories, a kill leaves the old one or the new one whole;
    elsewhere `path` may be absent for an instant.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    old = part.with_suffix(".old")
    try:
        yield part
        part.chmod(0o755)  # mkdtemp makes directories that only their owner can enter
        for file in sorted(found for found in part.rglob("*") if found.is_file()):
            sync(file)
        if path.exists():
            if _exchanged(part, path):
                return
            path.replace(old)
        try:
            part.replace(path)
        except OSError:
            if old.exists():
                old.replace(path)
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _exchanged(part: Path, path: Path) -> bool:
    """Swap two directories in one step; False where the system cannot.

    It cannot outside Linux, with an old C library, and on some network file systems.
    """
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of linux/fs.h
    return rename is not None and not rename(
        here, os.fsencode(part), here, os.fsencode(path), exchange
    )


def cache_folder() -> Path:
    """Return the user's cache folder: SYNOOD_CACHE, else `synood` in the system's cache folder."""
    if named := os.environ.get("SYNOOD_CACHE"):
        return Path(named)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "synood"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "synood"


def sync(path: Path) -> None:
    """Wait until the file's bytes are on the disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with replacing(path) as part:
        part.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 `text` to `path`, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write `value` as indented JSON with the key order given; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def to_toml(document: Mapping[str, object], comment: str = "") -> str:
    """Return nested mappings as TOML that begins with `comment`.

    `None`, which TOML lacks, becomes the string "none".
    """
    import tomli_w

    lines = [f"# {line}\n" for line in comment.splitlines()]
    return "".join(lines) + tomli_w.dumps(_without_none(document))


def _without_none(value: Any) -> Any:  # noqa: ANN401 - any TOML value
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_none(item) for item in value]
    return "none" if value is None else value


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line."""
    lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows]
    write_text(path, "".join(line + "\n" for line in lines))


def readable(path: Path) -> str:
    r"""Return `path` as text that can be printed and stored; bytes outside UTF-8 become `\xNN`.

    >>> readable(Path("snow/caf\udce9.jpg"))
    'snow/caf\\xe9.jpg'
    """
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


def read_bounded(path: Path, limit: int = MAX_TEXT) -> bytes:
    """Read a file that `check_bounded` lets pass; an unreadable one is an `InputError` too."""
    check_bounded(path, limit)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{readable(path)}: cannot be read ({error.strerror})") from None


def check_bounded(path: Path, limit: int) -> None:
    """Refuse all but a regular file of at most `limit` bytes, by its status alone.

    Anything else - absent, a folder, a pipe, too large - is an `InputError`.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{readable(path)}: no such file") from None
    except OSError as error:
        raise InputError(f"{readable(path)}: cannot be read ({error.strerror})") from None
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{readable(path)}: is not a regular file")
    if status.st_size > limit:
        raise InputError(
            f"{readable(path)}: {status.st_size:,} bytes are more than the {limit:,} that a "
            "file of this kind may have"
        )


def read_text(path: Path, limit: int = MAX_TEXT) -> str:
    """Read a text file as `read_bounded` and `decode_text` do; line ends are left as they are."""
    return decode_text(read_bounded(path, limit), readable(path))


def decode_text(data: bytes, name: str) -> str:
    r"""Decode UTF-8, with or without a byte-order mark, or UTF-16 with one, as PowerShell writes.

    Anything else is an `InputError` that names the file and the byte, as is a NUL, which no text
    holds: UTF-16 without a byte-order mark is full of them.

    >>> decode_text(b"\xff\xfec\x00a\x00t\x00", "names.txt")
    'cat'
    """
    encoding = next((codec for mark, codec in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = _line_of(data, error.start) if encoding.startswith("utf-8") else ""
        raise InputError(
            f"{name}{line}: byte {error.start} ({data[error.start]:#04x}) is not "
            f"{encoding.removesuffix('-sig').upper()} text; save the file as UTF-8"
        ) from None
    if "\0" in text:
        raise InputError(
            f"{name}: byte {data.index(0)} is NUL, which no text holds; save the file as UTF-8"
        )
    return text


def text_lines(text: str) -> list[str]:
    r"""Split at line ends: `\n`, `\r\n` and `\r` alone; the end of the last line begins no other.

    Not `str.splitlines`, which also splits at characters that may stand within a name.

    >>> text_lines("cat\r\ndog\rbee\n")
    ['cat', 'dog', 'bee']
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


def printable(text: str) -> str:
    r"""Return `text` for a console: characters that end a line or move the cursor as escapes.

    What a console's encoding lacks is the stream's matter (`errors="backslashreplace"`).

    >>> printable("snow/a\n.jpg")
    'snow/a\\n.jpg'
    """
    return "".join(
        char.encode("unicode_escape").decode() if _is_control(char) else char for char in text
    )


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Zl", "Zp")


def _line_of(data: bytes, position: int) -> str:
    return f", line {data.count(bytes([10]), 0, position) + 1}"


def read_json(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """Read JSON; a missing or malformed file is an `InputError` that names it."""
    try:
        return _parsed(read_text(path))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{readable(path)}: not readable as JSON ({error})") from None


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read one JSON object a line; an error names the file and the line."""
    text = read_text(path).replace("\r\n", "\n")
    rows = []
    # not splitlines(): it also splits at separators that may stand inside a JSON string
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], start=1):
        try:
            row = _parsed(line)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{readable(path)}, line {number}: not a JSON object ({error})"
            ) from None
        if not isinstance(row, dict):
            raise InputError(f"{readable(path)}, line {number}: not a JSON object")
        rows.append(row)
    return rows


def _parsed(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Parse JSON; a key that is there twice and half of an escaped character are a `ValueError`."""
    value = json.loads(text, object_pairs_hook=_object)
    if _HALVES.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"half of a character, {error.object[error.start]!a}") from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} is listed twice in one object")
    return found


def sha256_bytes(data: bytes) -> str:
    """Hex SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_hashes: dict[tuple[int, ...], str] = {}


def sha256_once(path: Path) -> str:
    """`sha256_file`, computed once in a process for a file that nobody has written to since.

    For files that are opened in any case, a model's: another inode, size or time of change is
    another file.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        changed = status.st_mtime_ns, status.st_ctime_ns
        key = (status.st_dev, status.st_ino, status.st_size, *changed)
        if key not in _hashes:
            _hashes[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _hashes[key]


def fingerprint(*parts: Any) -> str:  # noqa: ANN401 - any JSON values
    """Return 16 hex digits that change when any JSON-like part changes."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return sha256_bytes(text.encode(errors="surrogatepass"))[:16]
