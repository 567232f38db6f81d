"""OpenOOD's imglists: a text file with a path and a class number on each line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synood.errors import InputError
from synood.files import decode_text, read_bounded, readable
from synood.images._records import Records, read_lines, refuse_repeat
from synood.images.remote import as_path
from synood.images.sources import ImageIndex
from synood.labels.class_names import class_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def read_imglist(path: Path, root: Path, class_names: Sequence[str] | None = None) -> ImageIndex:
    """Read an OpenOOD list: a path below `root` and a class number on each line, in its order.

    Labels are `class_names` by number, or the numbers as text when no names are given; a line with
    -1 or without a number has no label. Paths may hold spaces. Whether a file is there shows when
    it is read: the lists have up to a million lines.

    Raises `InputError` that names the line for a number without a name, a path listed twice, and
    one that leads out of `root`.
    """
    path, root = as_path(path), as_path(root)
    data = _list_bytes(path)
    starts, ends, numbers, lines = read_lines(data)
    if not len(lines):
        raise InputError(f"{readable(path)}: lists no images")
    _refuse_outside(path, data, starts, ends, lines)
    if class_names is None:
        used = np.unique(numbers[numbers >= 0])
        names, labels = [str(number) for number in used], np.searchsorted(used, numbers)
        labels = np.where(numbers < 0, -1, labels)
    else:
        names, labels = [class_name(name) for name in class_names], numbers
        _refuse_nameless(path, names, numbers, lines)
    if b"//" in data or b"./" in data:  # may be one path in two spellings
        tidy = [_tidied(data[start:end]) for start, end in zip(starts, ends, strict=True)]
        records = Records.of_names(root, tidy, labels, names)
    else:
        records = Records(root, data, starts, ends, labels, names)
    refuse_repeat(records.first_repeat(), str(readable(path)))
    return ImageIndex(root, tuple(names), records)


def _list_bytes(path: Path) -> bytes:
    """Read a list as bytes: its paths need not be UTF-8, but UTF-16 is decoded and NUL refused."""
    data = read_bounded(path)
    if b"\0" in data or data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return decode_text(data, readable(path)).encode()
    return data


def _tidied(name: bytes) -> bytes:
    return os.fsencode(Path(os.fsdecode(name)).as_posix())


def _refuse_outside(
    path: Path,
    data: bytes,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    lines: NDArray[np.int64],
) -> None:
    """Refuse names that lead out of the root: absolute ones, and those that climb."""
    climbing = np.full(len(starts), b".." in data)
    suspects = np.flatnonzero(climbing | (np.frombuffer(data, np.uint8)[starts] == ord("/")))
    for row in suspects:
        name = Path(os.fsdecode(data[starts[row] : ends[row]]))
        if name.is_absolute() or ".." in name.parts:
            where = f"{readable(path)}, line {lines[row]}"
            raise InputError(f"{where}: {readable(name)!r} is outside the root")


def _refuse_nameless(
    path: Path, names: Sequence[str], numbers: NDArray[np.int64], lines: NDArray[np.int64]
) -> None:
    beyond = np.flatnonzero(numbers >= len(names))
    if len(beyond):
        row = beyond[0]
        raise InputError(
            f"{readable(path)}, line {lines[row]}: class {numbers[row]} has no name, "
            f"{len(names)} names are given and the first is number 0"
        )
