"""A run directory's copy at a URL: an object store, or a folder that another machine mounts.

The local directory is the original: a run needs locks and renames, which an object store lacks. New
files are copied while the run goes on; `mirror.json`, written after the files that it lists, says
by their hashes which of them are whole. A run that starts in an empty directory restores them, so
it resumes the work of a machine that failed.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from synood.errors import InputError
from synood.files import sha256_bytes, sha256_file, write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from synood.pipeline.rundir.workspace import Workspace

LIST = "mirror.json"
EVERY = 30.0  # seconds between two copies: what a failing machine loses
SCHEMA = 1
_LOGS = {"events.jsonl"}  # what there is before anything was made


class Mirror:
    """Copies `root` to `url`."""

    def __init__(self, root: Path, url: str) -> None:
        self._root, self._url = root, url.rstrip("/")
        self._system, self._place = _store(self._url)
        self._there: dict[str, str] = self._listed()
        self._hashes: dict[tuple[str, int, int], str] = {}
        self._copied = time.monotonic()

    def restore(self) -> int:
        """Restore the whole files of the copy; return how many."""
        fetched = 0
        for name, digest in sorted(self._there.items()):
            if not _is_inside(name):
                raise InputError(f"{self._url}/{LIST}: {name!r} is outside the directory")
            try:
                data = self._system.cat_file(f"{self._place}/{name}")
            except OSError:
                continue  # changed when the copy was interrupted; the run makes it again
            if sha256_bytes(data) == digest:
                write_bytes(self._root / name, data)
                fetched += 1
        return fetched

    def copy_if_due(self) -> str:
        """Copy if the last copy is old; return what went wrong, which the next copy tries again."""
        if time.monotonic() - self._copied < EVERY:
            return ""
        try:
            self.copy()
        except InputError as error:
            self._copied = time.monotonic()
            return str(error)
        return ""

    def copy(self) -> None:
        """Copy new files, then list them, then remove files that are gone."""
        here = self._here()
        try:
            for name, digest in here.items():
                if self._there.get(name) != digest:
                    _put(self._system, self._root / name, f"{self._place}/{name}")
            gone = sorted(self._there.keys() - here.keys())
            if gone or self._there != here:
                self._write_list(here)
            for name in gone:
                if self._system.exists(f"{self._place}/{name}"):
                    self._system.rm_file(f"{self._place}/{name}")
        except OSError as error:
            raise InputError(f"{self._url}: cannot be written ({error})") from None
        self._there = here
        self._copied = time.monotonic()

    def _here(self) -> dict[str, str]:
        """Return the hash of every finished file; unchanged files are not hashed again."""
        found = {}
        for path in sorted(self._root.rglob("*")):
            name = path.relative_to(self._root).as_posix()
            if path.is_file() and not any(part.startswith(".") for part in name.split("/")):
                status = path.stat()
                key = (name, status.st_size, status.st_mtime_ns)
                if key not in self._hashes:
                    self._hashes[key] = sha256_file(path)
                found[name] = self._hashes[key]
        return found

    def _write_list(self, files: Mapping[str, str]) -> None:
        text = json.dumps({"schema": SCHEMA, "files": files}, indent=1, ensure_ascii=False)
        self._system.makedirs(self._place, exist_ok=True)
        self._system.pipe_file(f"{self._place}/{LIST}", text.encode())

    def _listed(self) -> dict[str, str]:
        try:
            document: Any = json.loads(self._system.cat_file(f"{self._place}/{LIST}"))
            if document["schema"] != SCHEMA:
                raise ValueError(f"its schema is {document['schema']}, not {SCHEMA}")
            return {str(name): str(digest) for name, digest in document["files"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{self._url}/{LIST}: cannot be used ({error})") from None


def send_folder(folder: Path, url: str, last: str) -> None:
    """Make the files at `url` those of `folder`, the file `last` after all others."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in paths]
    system, root = _store(url)
    try:
        old = system.find(root) if system.exists(root) else []
        for name in sorted(names, key=lambda name: (name == last, name)):
            _put(system, folder / name, f"{root}/{name}")
        kept = {f"{root}/{name}".lstrip("/") for name in names}
        for path in sorted(old):
            if path.lstrip("/") not in kept:
                system.rm_file(path)
    except OSError as error:
        raise InputError(f"{url}: cannot be written ({error})") from None


@contextmanager
def mirrored(workspace: Workspace, url: str | None) -> Iterator[None]:
    """Mirror the run directory to `url` while the block runs; without a URL, do nothing.

    Failures on the way are logged and tried again; a failure at the end is an `InputError`.
    """
    if url is None:
        yield
        return
    mirror = Mirror(workspace.root, url)
    if _is_new(workspace.root):
        workspace.log("restored", place=url, files=mirror.restore())

    def watch() -> None:
        if trouble := mirror.copy_if_due():
            workspace.notify("mirror", trouble)

    workspace.watch = watch
    try:
        yield
    finally:
        workspace.watch = None
        if not _is_new(workspace.root):
            mirror.copy()


def _store(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL and the path in it."""
    import fsspec

    if "://" not in url:
        raise InputError(f"{url}: is no URL; write one as s3://bucket/folder or file:///folder")
    try:
        system, path = fsspec.core.url_to_fs(url.rstrip("/"))
    except (ImportError, ValueError) as error:
        raise InputError(f"{url}: cannot be reached ({error})") from None
    return system, path


def _put(system: Any, path: Path, target: str) -> None:  # noqa: ANN401 - fsspec is untyped
    system.makedirs(target.rpartition("/")[0], exist_ok=True)
    system.put_file(str(path), target)


def _is_new(root: Path) -> bool:
    return {path.name for path in root.iterdir() if not path.name.startswith(".")} <= _LOGS


def _is_inside(name: str) -> bool:
    parts = name.split("/")
    return not any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts)
