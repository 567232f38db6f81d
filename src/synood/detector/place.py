"""Where a detector may be written: a new or empty directory, or one that holds a detector."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from synood.detector._load import CONFIG, FORMAT, HASHED
from synood.errors import InputError
from synood.images.remote import local_path

if TYPE_CHECKING:
    from pathlib import Path


def checked_place(path: Path) -> Path:
    """Return the absolute path of a place for a detector.

    A file, a URL, and a directory that holds anything but a detector are an `InputError`.
    """
    target = local_path(path)
    try:
        target = target.resolve()
    except (OSError, RuntimeError):  # RuntimeError until Python 3.13
        raise InputError(f"{target}: is a link to itself; name another directory") from None
    if not target.exists():
        return target
    if not target.is_dir():
        raise InputError(f"{target}: is a file; name a directory for the detector")
    names = sorted(path.name for path in target.iterdir())
    foreign = [name for name in names if name not in (CONFIG, *HASHED)]
    if names and (foreign or CONFIG not in names or not _is_detector(target / CONFIG)):
        which = foreign[0] if foreign else names[0]
        raise InputError(
            f"{target}: holds {which!r}, so it is no detector and is left alone; "
            "name a new directory"
        )
    return target


def _is_detector(path: Path) -> bool:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("format") == FORMAT
