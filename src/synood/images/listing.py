"""Images as a command line names them: files, folders, list files, `-` and quoted patterns.

A list file is a text with one path a line: of images, or of folders of them. `-` is such a text on
standard input; there `find -print0` may have written it. A path of a list that leads to nothing is
listed like any other, so that its own row says so and the others are still read.
"""

from __future__ import annotations

import glob
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from synood.errors import InputError
from synood.files import decode_text, read_bounded, readable, text_lines
from synood.images._records import ImageRecord, first_repeat, refuse_repeat
from synood.images.kinds import HEAD, kind_of
from synood.images.remote import RemotePath, as_path
from synood.images.scanning import exists, is_clutter, is_image, sorted_images
from synood.images.sources import ImageIndex, find_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

LIST = ".txt"  # suffix of a list file
STANDARD_INPUT = ("-", "/dev/stdin")
_MAGIC = re.compile(r"[*?[]")


def standard_input() -> bytes:
    """Read standard input to its end."""
    if sys.stdin is None:
        raise InputError("standard input: is closed; give files, or a list of them")
    return sys.stdin.buffer.read()


def listed_images(
    words: Sequence[str | Path], read_input: Callable[[], bytes] = standard_input
) -> ImageIndex:
    """List the images that each word of a command line means.

    Files and folders alone are listed as `find_images` does, sorted. With a list file (.txt), "-"
    or a pattern ("photos/**/*.jpg") among them, images are in the order of the words and of the
    lines, those of a folder or a pattern sorted. An image named twice counts once.

    A path in a list file is relative to the folder of the list or, where it leads to nothing there,
    to the working directory.

    Raises `InputError` for a path of the command line that does not exist, an empty list, and a
    pattern that no image matches.
    """
    given = [as_path(word) for word in words]
    if not any(_is_list(path) or _is_pattern(path) for path in given):
        return find_images(given)
    files: dict[Path, Path] = {}
    for path in given:
        for file in _meant(path, read_input):
            files.setdefault(_absolute(file), file)
    names = [readable(file) for file in files.values()]
    refuse_repeat(first_repeat(names), "the images")
    records = [
        ImageRecord(name, file, None) for name, file in zip(names, files.values(), strict=True)
    ]
    return ImageIndex(Path(), (), tuple(records))


def _meant(path: Path, read_input: Callable[[], bytes]) -> Iterator[Path]:
    if str(path) in STANDARD_INPUT:
        yield from _of_list(read_input(), "standard input", Path())
    elif _is_list(path):
        yield from _of_list(read_bounded(path), readable(path), path.parent)
    elif _is_pattern(path):
        yield from _matching(str(path))
    else:
        yield from (record.path for record in find_images([path]).records)


def _is_list(path: Path) -> bool:
    """Whether a path is "-" or a text file: an image whose name ends in .txt stays an image."""
    if str(path) in STANDARD_INPUT:
        return True
    if path.suffix.lower() != LIST or not exists(path) or not path.is_file():
        return False
    with path.open("rb") as file:
        return kind_of(file.read(HEAD)) is None


def _is_pattern(path: Path) -> bool:
    return not isinstance(path, RemotePath) and bool(_MAGIC.search(str(path))) and not exists(path)


def _of_list(data: bytes, name: str, folder: Path) -> Iterator[Path]:
    """Yield the images of a list; a line that leads to nothing is yielded as it is."""
    lines = _lines(data, name)
    if not lines:
        raise InputError(f"{name}: lists no images; write one path on each line")
    for line in lines:
        path = _placed(as_path(line), folder)
        below: list[tuple[str, str]] = []
        with suppress(InputError, OSError, ValueError):  # its row says why
            below = sorted_images(path) if path.is_dir() else []
        yield from (path / file for _, file in below)
        if not below:
            yield path


def _lines(data: bytes, name: str) -> list[str]:
    if kind_of(data[:HEAD]) is not None:
        raise InputError(f"{name}: holds an image, not a list of images; give the image's own path")
    if b"\0" in data and not data.startswith((b"\xff\xfe", b"\xfe\xff")):  # of find -print0
        return [os.fsdecode(line) for line in data.split(b"\0") if line.strip()]
    try:
        text = decode_text(data, name)
    except InputError:  # names of files need not be UTF-8
        text = os.fsdecode(data)
    return [line.strip() for line in text_lines(text) if line.strip()]


def _placed(path: Path, folder: Path) -> Path:
    if isinstance(path, RemotePath) or path.is_absolute():
        return path
    beside = folder / path
    return path if not exists(beside) and exists(path) else beside


def _matching(pattern: str) -> list[Path]:
    """Return the images that a pattern matches, and those in the folders that it matches."""
    fixed = len(Path(_MAGIC.split(pattern)[0] + "x").parts) - 1
    found: list[Path] = []
    # Path.glob would follow no links and take no absolute pattern.
    for path in map(Path, sorted(glob.glob(pattern, recursive=True))):  # noqa: PTH207
        if any(map(is_clutter, path.parts[fixed:])):
            continue
        if path.is_dir():
            found += [] if "**" in pattern else [path / name for _, name in sorted_images(path)]
        elif is_image(path):
            found.append(path)
    if not found:
        raise InputError(f"{pattern}: no image matches this pattern, and no file has this name")
    return found


def _absolute(path: Path) -> Path:
    return path if isinstance(path, RemotePath) else Path(os.path.normpath(path.absolute()))
