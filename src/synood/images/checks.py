"""Warnings about a set of training images: what is likely to be a mistake, each with its fix."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from synood.errors import InputError
from synood.files import readable, sha256_bytes, sha256_file
from synood.images._records import ImageRecord
from synood.images.remote import RemotePath, as_path
from synood.images.scanning import images_in
from synood.labels.checks import class_name_warnings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from synood.images.sources import ImageIndex

MOST = 100_000  # images that are compared: of more, opening the files takes minutes
ENDS = 4096  # bytes at the beginning and the end of a file that are compared before the whole
_SHOWN = 5  # names that a warning lists


def check_outside(images: Path, run: Path) -> None:
    """Raise an `InputError` for a run directory within the folder of images that it learns from.

    The next listing of that folder would take the run for a class, or its synthetic images for
    images of the class in whose folder it lies.
    """
    images, run = as_path(images), as_path(run)
    if isinstance(images, RemotePath) or isinstance(run, RemotePath):
        return
    if run.resolve() != images.resolve() and run.resolve().is_relative_to(images.resolve()):
        raise InputError(
            f"{readable(run)}: lies in the folder of images, {readable(images)}, and would become "
            "a part of it; choose a directory outside"
        )


def dataset_warnings(index: ImageIndex) -> list[str]:
    """Say what about the classes and images of an index is likely to be a mistake.

    Odd class names (`class_name_warnings`), classes with one image, an image in two classes, and an
    image that is there several times. Images are compared by content: of files of one size the
    ends are read, and of those that agree in these the whole. Images at URLs and those of an index
    of more than `MOST` are not compared.
    """
    few, groups = _one_image(index), _repeats(index)
    across = [group for group in groups if len({record.label for record in group}) > 1]
    within = [group for group in groups if len({record.label for record in group}) == 1]
    warnings = class_name_warnings(index.class_names)
    if few:
        shown = ", ".join(repr(name) for name in few[:_SHOWN]) + _and_more(len(few))
        several = len(few) > 1
        warnings.append(
            f"class{'es' * several} {shown}: only one image{' each' * several}; add more"
        )
    if across:
        warnings.append(
            f"{_images(len(across))} in two classes, such as {_named(across[0])}; keep each in one"
        )
    if within:
        copies = sum(len(group) - 1 for group in within)
        warnings.append(
            f"{_images(len(within))} several times within a class ({copies:,} copies), such as "
            f"{_named(within[0])}; remove the copies"
        )
    return warnings


def unclassed_warnings(root: Path) -> list[str]:
    """Say which images lie in a folder beside its class folders, where they belong to no class."""
    root = as_path(root)
    names = [] if isinstance(root, RemotePath) else images_in(root)
    if not names:
        return []
    several = len(names) > 1
    shown = ", ".join(names[:_SHOWN]) + _and_more(len(names))
    return [
        f"{len(names):,} image{'s' * several} in no class folder {'are' if several else 'is'} left "
        f"out ({shown}); move {'them' if several else 'it'} to the folder of a class"
    ]


def shared_warnings(inside: ImageIndex, outside: Sequence[tuple[str, ImageIndex]]) -> list[str]:
    """Say which OOD sets hold images of the in-distribution set, by content.

    Images at URLs and those of sets with more than `MOST` images together are not compared.
    """
    named = [("", inside), *outside]
    if sum(len(index.records) for _, index in named) > MOST:
        return []
    records = [
        ImageRecord(record.id, record.path, name)  # the label says which set it is of
        for name, index in named
        for record in index.records
        if not isinstance(record.path, RemotePath)
    ]
    found: dict[str, list[list[ImageRecord]]] = defaultdict(list)
    for group in repeats(records):
        names = {str(record.label) for record in group}
        for name in sorted(names - {""}) if "" in names else ():
            found[name].append([record for record in group if record.label in ("", name)])
    return [
        f"{_images(len(groups))} both in-distribution and in the OOD set {name!r}, such as "
        f"{_example(groups[0])}: whichever verdict they get counts as wrong once; remove them "
        "from one side"
        for name, groups in found.items()
    ]


def _example(group: list[ImageRecord]) -> str:
    return next(readable(record.path) for record in group if record.label == "")


def repeats(records: Iterable[ImageRecord]) -> list[list[ImageRecord]]:
    """Return the groups of images that are the same file, byte for byte, in the order given."""
    groups = _parted([list(records)], _size)
    for key in (_ends, sha256_file):
        groups = _parted(groups, key)
    return groups


def _repeats(index: ImageIndex) -> list[list[ImageRecord]]:
    if len(index.records) > MOST:
        return []
    return repeats(record for record in index.records if not isinstance(record.path, RemotePath))


def _parted(
    groups: list[list[ImageRecord]], key: Callable[[Path], object]
) -> list[list[ImageRecord]]:
    """Part each group by a key of its images' files; groups of one and unreadable files go."""
    parted = []
    for group in groups:
        by_key: dict[object, list[ImageRecord]] = defaultdict(list)
        for record in group:
            try:
                by_key[key(record.path)].append(record)
            except OSError:  # reading the image says why
                continue
        parted += [members for members in by_key.values() if len(members) > 1]
    return parted


def _size(path: Path) -> int:
    status = path.stat()
    if not path.is_file():
        raise OSError
    return status.st_size


def _ends(path: Path) -> str:
    with path.open("rb") as file:
        first = file.read(ENDS)
        file.seek(max(0, path.stat().st_size - ENDS))
        return sha256_bytes(first + file.read(ENDS))


def _one_image(index: ImageIndex) -> list[str]:
    labels = index.label_indices()
    counts = np.bincount(labels[labels >= 0], minlength=len(index.class_names))
    return [name for name, count in zip(index.class_names, counts, strict=True) if count == 1]


def _images(count: int) -> str:
    return "one image is" if count == 1 else f"{count:,} images are"


def _named(group: list[ImageRecord]) -> str:
    """Name the first of equal images with one of another class, or with the second one."""
    first, second = group[0], group[1]
    other = next((record for record in group if record.label != first.label), second)
    return f"{first.id} and {other.id}"


def _and_more(count: int) -> str:
    return f" and {count - _SHOWN:,} more" if count > _SHOWN else ""
