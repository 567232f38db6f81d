"""Which images there are: a folder per class, plain files and folders, or an OpenOOD imglist.

Each may lie in an object store, by its URL (`places.py`). Every listing is sorted, so an index does
not depend on the file system. Names that begin with a dot are passed over, links are followed (not
back to a folder above), suffixes count in any case.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synood.errors import InputError
from synood.files import read_bounded, read_json, readable
from synood.images._records import (
    BOM,
    ImageRecord,
    Records,
    first_repeat,
    read_lines,
)
from synood.images.remote import RemotePath, as_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "ImageIndex",
    "ImageRecord",
    "find_images",
    "folder_per_class",
    "read_class_names",
    "read_imglist",
    "readable",
]

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
_KINDS = ", ".join(sorted(SUFFIXES))


@dataclass(frozen=True)
class ImageIndex:
    """Images in a fixed order, with ids that are distinct; `class_names` gives the class order.

    The records of a large listing are made one by one when they are asked for.
    """

    root: Path
    class_names: tuple[str, ...]
    records: Sequence[ImageRecord]

    def label_indices(self) -> NDArray[np.int64]:
        """Return each image's place in `class_names` (N,), -1 without a label that is there."""
        place = {name: number for number, name in enumerate(self.class_names)}
        if isinstance(self.records, Records):
            return self.records.label_indices(place)
        places = [place.get(record.label or "", -1) for record in self.records]
        return np.array(places, np.int64)

    def used_class_names(self) -> tuple[str, ...]:
        """Return the class names that at least one image has, in the class order."""
        records = self.records
        if isinstance(records, Records):
            used: set[str | None] = {*records.used_labels()}
        else:
            used = {record.label for record in records}
        return tuple(name for name in self.class_names if name in used)


def folder_per_class(
    root: Path, classes: Mapping[str, str] | Sequence[str] | None = None
) -> ImageIndex:
    """List the images of a folder that holds one folder per class, at any depth below it.

    Classes stand in the order of their sorted folder names. Their names are those of the folders
    with `_` for a space, or come from `classes`: folder name -> class name, or names in the
    folders' order. Files beside the class folders are passed over.

    Raises `InputError` when the folder is missing or has no class folders, when a class is empty,
    when two classes have one name, and when `classes` does not fit the folders.
    """
    root = as_path(root)
    folders = _class_folders(root)
    names = _names_of(root, [readable(Path(folder.name)) for folder in folders], classes)
    found: list[tuple[str, str]] = []
    labels: list[int] = []
    for label, (folder, name) in enumerate(zip(folders, names, strict=True)):
        below = _sorted_names(folder, f"{folder.name}/")
        if not below:
            raise InputError(
                f"{readable(folder)}: the class {name!r} holds no images ({_KINDS}); "
                "add some or remove the folder"
            )
        found += below
        labels += [label] * len(below)
    return _index_of_folder(root, root, found, labels, names)


def find_images(paths: Sequence[Path]) -> ImageIndex:
    """List image files, and those in folders at any depth, without labels, sorted by id.

    A file that is named is taken whatever its suffix, and once however often it is named. Ids are
    relative to the one folder, or to the deepest folder above everything that is named.

    Raises `InputError` for a path that does not exist, a folder without images and no paths.
    """
    if not paths:
        raise InputError("no images given; name at least one file or folder")
    paths = [as_path(path) for path in paths]
    for path in paths:
        if not _exists(path):
            raise InputError(f"{readable(path)}: no such file or folder")
    if len(paths) == 1 and paths[0].is_dir():
        found = _sorted_names(paths[0])
        _refuse_none(paths[0], found)
        return _index_of_folder(_absolute(paths[0]), paths[0], found, [-1] * len(found), ())
    return _find_in_several(paths)


def read_imglist(path: Path, root: Path, class_names: Sequence[str] | None = None) -> ImageIndex:
    """Read an OpenOOD list: a path below `root` and a class number on each line, in its order.

    Labels are `class_names` by number, or the numbers as text when no names are given; a line with
    -1 or without a number has no label. Paths may hold spaces. Whether a file is there shows when
    it is read: the lists have up to a million lines.

    Raises `InputError` that names the line for a number without a name, a path listed twice, and
    one that leads out of `root`.
    """
    path, root = as_path(path), as_path(root)
    data = read_bounded(path)
    starts, ends, numbers, lines = read_lines(data)
    if not len(lines):
        raise InputError(f"{readable(path)}: lists no images")
    _refuse_outside(path, data, starts, ends, lines)
    if class_names is None:
        used = np.unique(numbers[numbers >= 0])
        names, labels = [str(number) for number in used], np.searchsorted(used, numbers)
        labels = np.where(numbers < 0, -1, labels)
    else:
        names, labels = list(class_names), numbers
        _refuse_nameless(path, names, numbers, lines)
    if b"//" in data or b"./" in data:  # may be one path in two spellings
        tidy = [_tidied(data[start:end]) for start, end in zip(starts, ends, strict=True)]
        records = Records.of_names(root, tidy, labels, names)
    else:
        records = Records(root, data, starts, ends, labels, names)
    _refuse_repeat(records.first_repeat(), str(readable(path)))
    return ImageIndex(root, tuple(names), records)


def read_class_names(path: Path) -> dict[str, str] | list[str]:
    """Read class names: a JSON object folder -> name, a JSON list, or text with one name a line.

    Raises `InputError` for another kind of file, another shape, and an empty name or list.
    """
    path = as_path(path)
    if path.suffix.lower() == ".txt":
        lines = read_bounded(path).removeprefix(BOM).decode("utf-8", "surrogateescape").split("\n")
        names: object = [line.strip() for line in lines if line.strip()]
    elif path.suffix.lower() == ".json":
        names = read_json(path)
    else:
        raise InputError(f"{readable(path)}: class names come from a .json or a .txt file")
    values = list(names.values()) if isinstance(names, dict) else names
    if not isinstance(values, list) or not values:
        raise InputError(f"{readable(path)}: needs a list of class names or folder: name pairs")
    for value in values:
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"{readable(path)}: {value!r} is not a class name")
    return names if isinstance(names, dict) else values


def _class_folders(root: Path) -> list[Path]:
    if not _exists(root):
        raise InputError(f"{readable(root)}: no such folder")
    if not root.is_dir():
        raise InputError(f"{readable(root)}: is a file, not a folder with one folder per class")
    folders: list[Path]
    if isinstance(root, RemotePath):
        folders = [root / name for name in root.folders() if not name.startswith(".")]
    else:
        folders = [root / entry.name for entry in _entries(root) if entry.is_dir()]
    if not folders:
        raise InputError(
            f"{readable(root)}: has no class folders; put each class in one of its own"
        )
    return folders


def _names_of(
    root: Path, folders: Sequence[str], classes: Mapping[str, str] | Sequence[str] | None
) -> list[str]:
    """Return the class name of each folder, with single spaces; none empty, no two alike."""
    if classes is None:
        given = [folder.replace("_", " ") for folder in folders]
    elif isinstance(classes, Mapping):
        _refuse_unequal(root, folders, classes)
        given = [classes[folder] for folder in folders]
    elif len(classes) != len(folders):
        raise InputError(
            f"{readable(root)}: has {len(folders)} class folders, but {len(classes)} names are "
            "given; give one name per folder in sorted order, or folder: name pairs"
        )
    else:
        given = list(classes)
    names = [" ".join(name.split()) for name in given]
    first: dict[str, str] = {}
    for folder, name in zip(folders, names, strict=True):
        if not name:
            raise InputError(f"{readable(root / folder)}: its class name is empty")
        other = first.setdefault(name.casefold(), folder)
        if other != folder:
            raise InputError(
                f"{readable(root)}: the folders {other!r} and {folder!r} are both the class "
                f"{name!r}; merge them or name them apart"
            )
    return names


def _refuse_unequal(root: Path, folders: Sequence[str], classes: Mapping[str, str]) -> None:
    unnamed = sorted(set(folders) - set(classes))
    if unnamed:
        raise InputError(
            f"{readable(root)}: the class names have none for the folder {unnamed[0]!r}"
        )
    absent = sorted(set(classes) - set(folders))
    if absent:
        raise InputError(
            f"{readable(root)}: has no folder {absent[0]!r}, which the class names list"
        )


def _find_in_several(paths: Sequence[Path]) -> ImageIndex:
    """List files and folders together; what is named twice counts once."""
    starts: list[Path] = []
    files: dict[Path, Path] = {}
    for path in paths:
        start = _absolute(path)
        if path.is_dir():
            names = _sorted_names(path)
            _refuse_none(path, names)
            found = [path / name for _, name in names]
        else:
            found, start = [path], start.parent
        starts.append(start)
        files.update((_absolute(file), file) for file in found)
    root = _above_all(starts)
    pairs = sorted(
        (readable(Path(*path.parts[len(root.parts) :])), file) for path, file in files.items()
    )
    records = [ImageRecord(id_, file, None) for id_, file in pairs]
    _refuse_repeat(first_repeat([record.id for record in records]), readable(root))
    return ImageIndex(root, (), tuple(records))


def _index_of_folder(
    root: Path,
    base: Path,
    found: Sequence[tuple[str, str]],
    labels: Sequence[int],
    class_names: Sequence[str],
) -> ImageIndex:
    """Make the index of names (id, name) below `base`."""
    names = [os.fsencode(name) for _, name in found]
    records = Records.of_names(base, names, np.array(labels, np.int64), class_names)
    if not all(name.isascii() for _, name in found):
        _refuse_repeat(records.first_repeat(), readable(root))
    return ImageIndex(root, tuple(class_names), records)


def _sorted_names(folder: Path, prefix: str = "") -> list[tuple[str, str]]:
    """Return (id, name) of the images below a folder, sorted, both with `prefix` before them."""
    names = (prefix + name for name in _names_below(folder))
    return sorted((readable(Path(name)) if not name.isascii() else name, name) for name in names)


def _names_below(folder: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[str]:
    """Yield names of image files; `above` are the folders on the way here, by device and inode."""
    if isinstance(folder, RemotePath):
        yield from (name for name in folder.below() if _is_image(name))
        return
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in _entries(folder):
        if entry.is_dir():
            inside = _names_below(folder / entry.name, above | {here})
            yield from (f"{entry.name}/{name}" for name in inside)
        # A pipe or a link to nothing is listed too: reading tells what it is, leaving it out would
        # hide it.
        elif _is_image(entry.name):
            yield entry.name


def _is_image(name: str) -> bool:
    """Judge a path below a folder by its suffix, and by names in it that begin with a dot."""
    # Not Path.suffix, which takes seconds for a million names.
    known = os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122
    return known and not (name.startswith(".") or "/." in name)


def _above_all(starts: Sequence[Path]) -> Path:
    """Return the deepest folder above everything."""
    if not any(isinstance(start, RemotePath) for start in starts):
        return Path(os.path.commonpath(starts))
    levels = zip(*(start.parts for start in starts), strict=False)
    common = [names[0] for names in takewhile(lambda names: len(set(names)) == 1, levels)]
    if not common:
        raise InputError(f"{starts[0]} and {starts[-1]}: lie in different stores; name one only")
    return RemotePath(*common)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{readable(folder)}: cannot be listed ({error.strerror})") from None
    return [entry for entry in entries if not entry.name.startswith(".")]


def _exists(path: Path) -> bool:
    """Say whether there is something at `path`; False for what cannot be a path as well."""
    try:
        path.stat()
    except InputError:  # of a store that cannot be reached
        raise
    except (OSError, ValueError):
        return False
    return True


def _absolute(path: Path) -> Path:
    return path if isinstance(path, RemotePath) else Path(os.path.normpath(path.absolute()))


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


def _refuse_none(folder: Path, found: Sequence[object]) -> None:
    if not found:
        raise InputError(f"{readable(folder)}: holds no images ({_KINDS})")


def _refuse_repeat(repeated: str | None, source: str) -> None:
    if repeated is not None:
        raise InputError(f"{source}: the image {repeated!r} is there twice")
