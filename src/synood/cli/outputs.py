"""Checks of where a command is to write, made before its expensive work.

What is at an output path already is replaced only with --overwrite.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from synood.errors import InputError
from synood.files import readable

if TYPE_CHECKING:
    from pathlib import Path

_FILE = "choose another path, or add --overwrite to replace it"
_DIRECTORY = "choose another path, or add --overwrite to replace what synood wrote there"


def check_output_file(path: Path, overwrite: bool = False) -> None:
    """Raise an `InputError` unless a file can be written to `path` without loss."""
    _check_parent(path)
    if path.is_dir():
        raise InputError(f"{readable(path)}: is a directory; name a file to write")
    if path.exists() and not path.is_file():
        raise InputError(f"{readable(path)}: is not a regular file; name another file to write")
    if path.exists() and not overwrite:
        raise InputError(f"{readable(path)}: exists already; {_FILE}")


def check_output_directory(path: Path, overwrite: bool = False) -> None:
    """Raise an `InputError` unless a directory can be written to `path` without loss.

    `path` may be a URL.
    """
    from synood.images.remote import RemotePath, as_path

    target = as_path(path)
    if isinstance(target, RemotePath):
        occupied = target.exists() and any(target.below())
    else:
        _check_parent(target)
        if target.exists() and not target.is_dir():
            raise InputError(f"{readable(target)}: is a file; name a directory to write")
        occupied = target.is_dir() and any(target.iterdir())
    if occupied and not overwrite:
        raise InputError(f"{readable(target)}: is not empty; {_DIRECTORY}")


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
