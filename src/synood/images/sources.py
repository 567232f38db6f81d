"""Which images there are: a folder per class, or files and folders; imglists have their own module.

Each may lie in an object store, by its URL (`remote.py`). Every listing is sorted, so an index does
not depend on the file system; `scanning.py` says what counts as an image.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synood.errors import InputError
from synood.files import read_json, read_text, readable, text_lines
from synood.images._records import ImageRecord, Records, first_repeat, refuse_repeat
from synood.images.remote import RemotePath, as_path
from synood.images.scanning import class_folders, exists, sorted_images
from synood.labels.class_names import class_key, class_name, is_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "ImageIndex",
    "ImageRecord",
    "find_images",
    "folder_per_class",
    "read_class_names",
]

_SEVERAL = re.compile(r"[,;|\t]")
_KINDS = "JPEG, PNG, WebP, TIFF, ..."


@dataclass(frozen=True)
class ImageIndex:
    """Images in a fixed order with distinct ids; `class_names` gives the class order.

    The records of a large listing are made one by one, on request.
    """

    root: Path
    class_names: tuple[str, ...]
    records: Sequence[ImageRecord]

    def label_indices(self) -> NDArray[np.int64]:
        """Return the index of each image's label in `class_names` (N,), -1 without one."""
        indices = {name: number for number, name in enumerate(self.class_names)}
        if isinstance(self.records, Records):
            return self.records.label_indices(indices)
        return np.array([indices.get(record.label or "", -1) for record in self.records], np.int64)

    def renamed(self, names: Mapping[str, str]) -> ImageIndex:
        """Return the index with other class names, which `names` has for each of these."""
        records = self.records
        if isinstance(records, Records):
            records = records.renamed(names)
        else:
            records = tuple(
                one if one.label is None else replace(one, label=names[one.label])
                for one in records
            )
        return replace(
            self, class_names=tuple(map(names.__getitem__, self.class_names)), records=records
        )

    def used_class_names(self) -> tuple[str, ...]:
        """Return the class names of which there is an image, in the class order."""
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

    Classes are in the order of their sorted folder names. Their names are those of the folders or
    come from `classes`: folder name -> class name, or names in the folders' order; in each, "_" is
    a space (`synood.labels.class_names`). Files next to the class folders are skipped.

    Raises `InputError` when the folder is missing or has no class folders, when a class is empty,
    when two classes have one name, and when `classes` does not fit the folders.
    """
    root = as_path(root)
    folders = class_folders(root)
    names = _names_of(root, [readable(Path(folder.name)) for folder in folders], classes)
    found: list[tuple[str, str]] = []
    labels: list[int] = []
    for label, (folder, name) in enumerate(zip(folders, names, strict=True)):
        below = sorted_images(folder, f"{folder.name}/")
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

    A file given by name is listed whatever its suffix, once however often it is given. Ids are
    relative to the one folder, or to the deepest common folder of everything given.

    Raises `InputError` for a path that does not exist, a folder without images and no paths.
    """
    if not paths:
        raise InputError("no images given; name at least one file or folder")
    paths = [as_path(path) for path in paths]
    for path in paths:
        if not exists(path):
            raise InputError(f"{readable(path)}: no such file or folder")
    if len(paths) == 1 and paths[0].is_dir():
        found = sorted_images(paths[0])
        _refuse_none(paths[0], found)
        return _index_of_folder(_absolute(paths[0]), paths[0], found, [-1] * len(found), ())
    return _find_in_several(paths)


def read_class_names(path: Path) -> dict[str, str] | list[str]:
    """Read class names: a JSON object folder -> name, a JSON list, or text with one name a line.

    Raises `InputError` for another kind of file, another shape, an empty name or list, and several
    names on the one line of a text.
    """
    path = as_path(path)
    if path.suffix.lower() == ".txt":
        names: object = _one_a_line(path)
    elif path.suffix.lower() == ".json":
        names = read_json(path)
    else:
        raise InputError(f"{readable(path)}: class names come from a .json or a .txt file")
    values = list(names.values()) if isinstance(names, dict) else names
    if not isinstance(values, list) or not values:
        raise InputError(f"{readable(path)}: needs a list of class names or folder: name pairs")
    for value in values:
        if not isinstance(value, str) or not is_text(class_name(value) or "\0"):
            raise InputError(f"{readable(path)}: {value!r} is not a class name")
    if isinstance(names, dict):
        return {folder: class_name(name) for folder, name in names.items()}
    return [class_name(name) for name in values]


def _one_a_line(path: Path) -> list[str]:
    names = [line.strip() for line in text_lines(read_text(path)) if line.strip()]
    if len(names) == 1 and _SEVERAL.search(names[0]):
        raise InputError(
            f"{readable(path)}: its one line, {names[0]!r}, looks like several class names; write "
            "one name per line (one class of this name: a JSON list)"
        )
    return names


def _names_of(
    root: Path, folders: Sequence[str], classes: Mapping[str, str] | Sequence[str] | None
) -> list[str]:
    """Return the class name of each folder; none empty, no two alike."""
    if classes is None:
        given = list(folders)
    elif isinstance(classes, Mapping):
        named = {_composed(folder): name for folder, name in classes.items()}
        _refuse_unequal(root, [_composed(folder) for folder in folders], named)
        given = [named[_composed(folder)] for folder in folders]
    elif len(classes) != len(folders):
        raise InputError(
            f"{readable(root)}: has {len(folders)} class folders, but {len(classes)} names are "
            "given; give one name per folder in sorted order, or folder: name pairs"
        )
    else:
        given = list(classes)
    names = [class_name(name) for name in given]
    first: dict[str, str] = {}
    for folder, name in zip(folders, names, strict=True):
        if not name:
            raise InputError(f"{readable(root / folder)}: its class name is empty")
        other = first.setdefault(class_key(name), folder)
        if other != folder:
            raise InputError(
                f"{readable(root)}: the folders {other!r} and {folder!r} are both the class "
                f"{name!r}; merge them or rename one{_hint(other, folder)}"
            )
    return names


def _hint(first: str, second: str) -> str:
    """Say why two folders that look alike are two."""
    if _composed(first) != _composed(second):
        return ""
    return " (their accents are encoded differently: as NFC and NFD)"


def _composed(folder: str) -> str:
    return unicodedata.normalize("NFC", folder)


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
    """List files and folders together; what is given twice counts once."""
    starts: list[Path] = []
    files: dict[Path, Path] = {}
    for path in paths:
        start = _absolute(path)
        if path.is_dir():
            names = sorted_images(path)
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
    refuse_repeat(first_repeat([record.id for record in records]), readable(root))
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
        refuse_repeat(records.first_repeat(), readable(root))
    return ImageIndex(root, tuple(class_names), records)


def _above_all(starts: Sequence[Path]) -> Path:
    """Return the deepest common folder."""
    if not any(isinstance(start, RemotePath) for start in starts):
        return Path(os.path.commonpath(starts))
    levels = zip(*(start.parts for start in starts), strict=False)
    common = [names[0] for names in takewhile(lambda names: len(set(names)) == 1, levels)]
    if not common:
        raise InputError(f"{starts[0]} and {starts[-1]}: in different stores; give one at a time")
    return RemotePath(*common)


def _absolute(path: Path) -> Path:
    return path if isinstance(path, RemotePath) else Path(os.path.normpath(path.absolute()))


def _refuse_none(folder: Path, found: Sequence[object]) -> None:
    if not found:
        raise InputError(f"{readable(folder)}: holds no images; put some ({_KINDS}) in it")
