"""Which images there are: a folder per class, plain files and folders, or an OpenOOD imglist.

Every listing is sorted, so an index does not depend on the file system. Names that begin with a
dot are passed over, links are followed (not back to a folder above), suffixes count in any case.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synood.errors import InputError
from synood.files import read_bounded, read_json, readable

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
_KINDS = ", ".join(sorted(SUFFIXES))


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image: `id` is its path below the index's root with `/`, `label` its class name."""

    id: str
    path: Path
    label: str | None


@dataclass(frozen=True)
class ImageIndex:
    """Images in a fixed order, with ids that are distinct; `class_names` gives the class order."""

    root: Path
    class_names: tuple[str, ...]
    records: tuple[ImageRecord, ...]


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
    folders = _class_folders(root)
    names = _names_of(root, [readable(Path(folder.name)) for folder in folders], classes)
    records: list[ImageRecord] = []
    for folder, name in zip(folders, names, strict=True):
        found = list(_images_below(folder))
        if not found:
            raise InputError(
                f"{readable(folder)}: the class {name!r} holds no images ({_KINDS}); "
                "add some or remove the folder"
            )
        pairs = [(readable(path.relative_to(root)), path) for path in found]
        records.extend(ImageRecord(id_, path, name) for id_, path in sorted(pairs))
    return _index(root, names, records)


def find_images(paths: Sequence[Path]) -> ImageIndex:
    """List image files, and those in folders at any depth, without labels, sorted by id.

    A file that is named is taken whatever its suffix, and once however often it is named. Ids are
    relative to the one folder, or to the deepest folder above everything that is named.

    Raises `InputError` for a path that does not exist, a folder without images and no paths.
    """
    if not paths:
        raise InputError("no images given; name at least one file or folder")
    starts: list[Path] = []
    files: dict[Path, Path] = {}
    for path in paths:
        if not _exists(path):
            raise InputError(f"{readable(path)}: no such file or folder")
        start = _absolute(path)
        if path.is_dir():
            found = list(_images_below(path))
            if not found:
                raise InputError(f"{readable(path)}: holds no images ({_KINDS})")
        else:
            found, start = [path], start.parent
        starts.append(start)
        files.update((_absolute(file), file) for file in found)
    root = Path(os.path.commonpath(starts))
    pairs = sorted((readable(place.relative_to(root)), file) for place, file in files.items())
    return _index(root, (), [ImageRecord(id_, file, None) for id_, file in pairs])


def read_imglist(path: Path, root: Path, class_names: Sequence[str] | None = None) -> ImageIndex:
    """Read an OpenOOD list: a path below `root` and a class number on each line, in its order.

    Labels are `class_names` by number, or the numbers as text when no names are given; a line with
    -1 or without a number has no label. Paths may hold spaces. Whether a file is there shows when
    it is read: the lists have up to a million lines.

    Raises `InputError` that names the line for a number without a name, a path listed twice, and
    one that leads out of `root`.
    """
    records, numbers = [], set()
    for line, text in _lines(path):
        name, number = _split_line(text)
        if name.startswith("/") or ".." in Path(name).parts:
            place = readable(Path(name))
            raise InputError(f"{readable(path)}, line {line}: {place!r} is outside the root")
        label = None
        if number is not None and number >= 0:
            numbers.add(number)
            label = (
                str(number) if class_names is None else _name_at(class_names, number, path, line)
            )
        records.append(ImageRecord(readable(Path(name)), root / name, label))
    if not records:
        raise InputError(f"{readable(path)}: lists no images")
    names = [str(number) for number in sorted(numbers)] if class_names is None else class_names
    return _index(root, names, records, str(readable(path)))


def read_class_names(path: Path) -> dict[str, str] | list[str]:
    """Read class names: a JSON object folder -> name, a JSON list, or text with one name a line.

    Raises `InputError` for another kind of file, another shape, and an empty name or list.
    """
    if path.suffix.lower() == ".txt":
        names: object = [text.strip() for _, text in _lines(path)]
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


def _images_below(folder: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Path]:
    """Yield image files; `above` are the folders on the way here, by device and inode."""
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in _entries(folder):
        path = folder / entry.name
        if entry.is_dir():
            yield from _images_below(path, above | {here})
        elif path.suffix.lower() in SUFFIXES:
            yield path  # also a pipe or a link to nothing: reading tells, leaving out would not


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
    except (OSError, ValueError):
        return False
    return True


def _absolute(path: Path) -> Path:
    return Path(os.path.normpath(path.absolute()))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number, text) of the lines that hold something."""
    data = read_bounded(path)
    # As file names are decoded, so that a name outside UTF-8 still opens its file.
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.strip()


def _split_line(text: str) -> tuple[str, int | None]:
    """Split "some path.jpg 12" at its last space when a whole number follows it."""
    name, _, number = text.rpartition(" ")
    if name and number.removeprefix("-").isdecimal():
        return name.rstrip(), int(number)
    return text, None


def _name_at(class_names: Sequence[str], number: int, path: Path, line: int) -> str:
    if number >= len(class_names):
        raise InputError(
            f"{readable(path)}, line {line}: class {number} has no name, "
            f"{len(class_names)} names are given and the first is number 0"
        )
    return class_names[number]


def _index(
    root: Path, names: Iterable[str], records: Sequence[ImageRecord], source: str | None = None
) -> ImageIndex:
    seen: set[str] = set()
    for record in records:
        if record.id in seen:
            raise InputError(f"{source or readable(root)}: the image {record.id!r} is there twice")
        seen.add(record.id)
    return ImageIndex(root, tuple(names), tuple(records))
