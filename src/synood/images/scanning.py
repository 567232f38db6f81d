"""The image files of a folder, at any depth: which names are images, and in which order.

A file is an image by its suffix, or, where the suffix is none of an image, by its first bytes: so
`photo.jfif`, `IMG_0001` and `photo.dat` are images, and `notes.txt` is none. A file that cannot be
opened to tell is listed, so that reading it says why. What systems leave behind - thumbnails,
recycle bins, resource forks, names that begin with a dot - is passed over.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from synood.errors import InputError
from synood.files import readable
from synood.images.kinds import HEAD, SUFFIXES, kind_of
from synood.images.remote import RemotePath

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLUTTER = frozenset(
    {
        *("@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle"),  # network disks
        *("#snapshot", "~snapshot", "@synoresource", "@sharebin", "@sharesnap"),
        *("$recycle.bin", "recycler", "recycled", "system volume information"),  # Windows
        *("__macosx", "network trash folder", "temporary items"),  # macOS
        *("lost+found", "__pycache__"),
    }
)

_CLUTTER_ENDS = ("@synoeastream", "@synoresource")  # what a network disk keeps beside a file


def sorted_images(folder: Path, prefix: str = "") -> list[tuple[str, str]]:
    """Return (id, name) of the images below a folder, sorted, both with `prefix` before them."""
    names = (prefix + name for name in _below(folder))
    return sorted((readable(Path(name)) if not name.isascii() else name, name) for name in names)


def images_in(folder: Path) -> list[str]:
    """Return the names of the image files that lie in a folder itself, sorted."""
    files = (entry for entry in _entries(folder) if not _is_folder(entry))
    return [readable(Path(entry.name)) for entry in files if _is_listed(entry)]


def class_folders(root: Path) -> list[Path]:
    """Return the folders in a folder, sorted, but those that a system left there.

    Raises `InputError` when `root` is missing, is a file or holds no folder.
    """
    if not exists(root):
        raise InputError(f"{readable(root)}: no such folder")
    if not root.is_dir():
        raise InputError(f"{readable(root)}: is a file, not a folder with one folder per class")
    folders: list[Path]
    if isinstance(root, RemotePath):
        folders = [root / name for name in root.folders() if not is_clutter(name)]
    else:
        folders = [root / entry.name for entry in _entries(root) if _is_folder(entry)]
    if not folders:
        raise InputError(f"{readable(root)}: has no class folders; put each class in its own")
    return folders


def is_clutter(name: str) -> bool:
    """Whether a file or folder of this name is a system's and not the user's.

    >>> is_clutter("@eaDir"), is_clutter("._cat.jpg"), is_clutter("cat.jpg")
    (True, True, False)
    """
    folded = name.casefold()
    return name.startswith(".") or folded in _CLUTTER or folded.endswith(_CLUTTER_ENDS)


def is_image(path: Path) -> bool:
    """Whether a listing takes the file at `path` for an image: by its suffix, or its content."""
    return _has_image_suffix(path.name) or _begins_as_image(path)


def exists(path: Path) -> bool:
    """Say whether there is something at `path`; False for what cannot be a path as well."""
    try:
        path.stat()
    except InputError:  # of a store that cannot be reached
        raise
    except (OSError, ValueError):
        return False
    return True


def _below(folder: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[str]:
    """Yield names of image files; `above` are the folders on the way here, by device and inode."""
    if isinstance(folder, RemotePath):
        yield from _below_url(folder)
        return
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in _entries(folder):
        if _is_folder(entry):
            inside = _below(folder / entry.name, above | {here})
            yield from (f"{entry.name}/{name}" for name in inside)
        # A pipe or a link to nothing is listed too where its name is an image's: reading says what
        # it is, and leaving it out would hide it.
        elif _is_listed(entry):
            yield entry.name


def _below_url(folder: RemotePath) -> Iterator[str]:
    sizes = folder.below()
    names = [name for name in sizes if not any(map(is_clutter, name.split("/")))]
    doubtful = [name for name in names if not _has_image_suffix(name) and sizes[name]]
    heads = folder.heads(doubtful, HEAD)
    for name in names:
        if _has_image_suffix(name) or (name in heads and _may_be_image(heads[name])):
            yield name


def _has_image_suffix(name: str) -> bool:
    # Not Path.suffix, which takes seconds for a million names.
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_listed(entry: os.DirEntry[str]) -> bool:
    return _has_image_suffix(entry.name) or _begins_as_image(entry)


def _begins_as_image(entry: os.DirEntry[str] | Path) -> bool:
    try:
        if not entry.is_file():
            return False
    except OSError:
        return False
    try:
        descriptor = os.open(entry, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            return _may_be_image(os.read(descriptor, HEAD))
        finally:
            os.close(descriptor)
    except OSError:
        return _may_be_image(None)


def _may_be_image(head: bytes | None) -> bool:
    """Judge a file by its first bytes; None, of one that cannot be opened, counts as an image."""
    return head is None or kind_of(head) is not None


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{readable(folder)}: cannot be listed ({error.strerror})") from None
    return [entry for entry in entries if not is_clutter(entry.name)]
