"""Checks of where a command is to write, made before its expensive work.

What is at an output path already is replaced only with --overwrite.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from synood.artifacts import artifact_at
from synood.errors import InputError
from synood.files import readable
from synood.images.scanning import is_image

if TYPE_CHECKING:
    from collections.abc import Iterable

_FILE = "choose another path, or add --overwrite to replace it"
_DIRECTORY = "choose another path, or add --overwrite to replace what synood wrote there"


def check_output_file(path: Path, overwrite: bool = False, inputs: Iterable[object] = ()) -> None:
    """Raise an `InputError` unless a file can be written to `path` without loss.

    What the command reads (`inputs`, some of which may be no paths) is kept with --overwrite too,
    as are images and the files of a detector that it reads.
    """
    _check_local(path)
    if path.is_dir():
        raise InputError(f"{readable(path)}: is a directory; name a file to write")
    if path.exists() and not path.is_file():
        raise InputError(f"{readable(path)}: is not a regular file; name another file to write")
    if path.exists() and not overwrite:
        raise InputError(f"{readable(path)}: exists already; {_FILE}")
    if path.is_file() and any(_is_read(path, given) for given in inputs):
        raise InputError(f"{readable(path)}: is read by this command; name another file to write")
    if path.is_file() and is_image(path):
        raise InputError(f"{readable(path)}: is an image; name another file to write")


def check_detector_directory(path: Path, overwrite: bool = False) -> None:
    """Raise an `InputError` unless a detector can be written to `path` without loss."""
    from synood.detector.place import checked_place

    _check_local(path)
    _check_directory(path, overwrite)
    checked_place(path)


def check_output_directory(path: Path, overwrite: bool = False) -> None:
    """Raise an `InputError` unless a directory can be written to `path` without loss.

    `path` may be a URL.
    """
    from synood.images.remote import RemotePath, as_path

    target = as_path(path)
    if not isinstance(target, RemotePath):
        _check_local(target)
        _check_directory(target, overwrite)
    elif target.exists() and any(target.below()) and not overwrite:
        raise InputError(f"{readable(target)}: is not empty; {_DIRECTORY}")


def _is_read(path: Path, given: object) -> bool:
    """Whether a command that reads what is at `given` reads the file at `path`."""
    if given is None:
        return False
    source = Path(str(given))
    try:
        if not source.is_dir():
            return path.samefile(source)
        in_detector = artifact_at(source) == "a detector"
        return in_detector and path.resolve().is_relative_to(source.resolve())
    except (OSError, ValueError):  # it is not there, or no path
        return False


def _check_directory(path: Path, overwrite: bool) -> None:
    if path.exists() and not path.is_dir():
        raise InputError(f"{readable(path)}: is a file; name a directory to write")
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise InputError(f"{readable(path)}: is not empty; {_DIRECTORY}")


def _check_local(path: Path) -> None:
    """Raise an `InputError` for a URL, a link to nothing and a place that takes no new files."""
    from synood.images.remote import local_path

    local_path(path)
    if path.is_symlink() and not path.exists():
        raise InputError(f"{readable(path)}: is a link to nothing; remove it or name another path")
    _check_parent(path)


def _check_parent(path: Path) -> None:
    """Raise an `InputError` unless the nearest existing folder above `path` takes new files."""
    above = path.absolute().parent
    while not above.exists():
        above = above.parent
    if not above.is_dir():
        raise InputError(f"{readable(path)}: cannot be written ({readable(above)} is a file)")
    try:
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        raise InputError(
            f"{readable(path)}: cannot be written ({readable(above)}: {error.strerror})"
        ) from None
