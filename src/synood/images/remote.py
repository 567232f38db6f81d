"""Images in object stores: `s3://bucket/photos` and every other URL that fsspec opens.

A URL may be given wherever a path of images, an imglist or a file of class names may. It becomes a
`RemotePath`: a `Path` as far as names go, whose file is fetched when it is opened.
"""

from __future__ import annotations

import errno
import os
import stat
import zlib
from contextlib import contextmanager
from pathlib import Path, PosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from synood.errors import InputError
from synood.files import readable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BLOCK = 2**18  # bytes fetched at once: a file's header, and most images whole
_ROOTED = ("file:", "local:")  # with absolute paths on this machine


class RemotePath(PosixPath):
    """A path that is a URL.

    >>> RemotePath("s3://bucket/cat") / "1.png"
    RemotePath('s3://bucket/cat/1.png')
    """

    def __str__(self) -> str:
        protocol, *names = self.parts
        return f"{protocol}{'///' if protocol in _ROOTED else '//'}{'/'.join(names)}"

    def __fspath__(self) -> str:
        return str(self)

    def as_posix(self) -> str:
        """Return the URL."""
        return str(self)

    def absolute(self) -> RemotePath:
        """Return this path: a URL has no working directory."""
        return self

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return kind, size and, instead of a time, a number that changes with the version."""
        with self._reached():
            system, path = self._system()
            entry = system.info(path)
        is_folder = entry["type"] == "directory"
        mode = stat.S_IFDIR if is_folder else stat.S_IFREG
        versions = [entry.get(key) for key in ("ETag", "etag", "mtime", "LastModified", "created")]
        version = zlib.crc32(repr([value for value in versions if value]).encode())
        size = int(entry.get("size") or 0)
        times = {"st_atime_ns": version, "st_mtime_ns": version, "st_ctime_ns": version}
        return os.stat_result((mode, 0, 0, 1, 0, 0, size, version, version, version), times)

    def open(self, mode: str = "rb", *args: Any, **kwargs: Any) -> BinaryIO:  # type: ignore[override]  # noqa: ANN401
        """Open the file to read its bytes."""
        with self._reached():
            system, path = self._system()
            file: BinaryIO = system.open(path, "rb", block_size=BLOCK)
        return file

    def below(self) -> dict[str, int]:
        """List the files at any depth below this folder: path below it -> size in bytes."""
        with self._reached():
            system, root = self._system()
            found = system.find(root, detail=True)
        return {_tail(name, root): int(entry.get("size") or 0) for name, entry in found.items()}

    def heads(self, names: Sequence[str], count: int) -> dict[str, bytes | None]:
        """Fetch the first bytes of files below this folder, many at once; None where that fails."""
        if not names:
            return {}
        with self._reached():
            system, root = self._system()
            paths = [f"{root.rstrip('/')}/{name}" for name in names]
            found = system.cat_ranges(paths, 0, count, on_error="return")
        heads = (head if isinstance(head, bytes) else None for head in found)
        return dict(zip(names, heads, strict=True))

    def folders(self) -> list[str]:
        """List the folders in this folder by name, sorted."""
        with self._reached():
            system, root = self._system()
            entries = system.ls(root, detail=True)
        names = (_tail(entry["name"], root) for entry in entries if entry["type"] == "directory")
        return sorted(name.strip("/") for name in names if name.strip("/"))

    def _system(self) -> tuple[Any, str]:
        """Return the file system of the URL and the path in it."""
        import fsspec

        system, path = fsspec.core.url_to_fs(str(self))
        return system, path

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn what a store or its package may raise into an `OSError` or `InputError`."""
        try:
            yield
        except FileNotFoundError:  # fsspec's lack the errno that `exists` checks
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self)) from None
        except OSError:
            raise
        except (ImportError, ValueError) as error:
            raise InputError(f"{self}: cannot be reached ({error})") from None


def _tail(name: str, root: str) -> str:
    return name.lstrip("/").removeprefix(root.strip("/")).lstrip("/")


def as_path(path: str | Path) -> Path:
    """Return a path, or the `RemotePath` of a URL, even one whose slashes a `Path` has collapsed.

    >>> as_path("photos"), as_path(Path("memory://photos"))
    (PosixPath('photos'), RemotePath('memory://photos'))
    """
    if isinstance(path, RemotePath):
        return path
    if path == "":
        raise InputError("an empty path; is a variable unset?")
    plain = Path(path)
    first = plain.parts[0] if plain.parts else ""
    if len(plain.parts) < 2 or not first.endswith(":") or Path(first).exists():
        return plain
    import fsspec

    known = first.removesuffix(":").split("::")[-1] in fsspec.available_protocols()
    return RemotePath(*plain.parts) if known else plain


def local_path(path: str | Path) -> Path:
    """Return a path to write to; a URL, which a `Path` would make folders of, is an `InputError`.

    >>> local_path("runs/first")
    PosixPath('runs/first')
    """
    plain = as_path(path)
    first = plain.parts[0] if len(plain.parts) > 1 else ""
    if first.endswith(":") and not plain.drive and not Path(first).exists():
        raise InputError(f"{readable(plain)}: is a URL; name a place on this machine to write to")
    return plain
