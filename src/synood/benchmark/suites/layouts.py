"""Opens a benchmark: finds its sets below a folder, in any of the usual layouts, and lists them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from synood.benchmark.suites.catalog import MINI, find_benchmark
from synood.benchmark.suites.suite import ROLES, ImageSet, Suite
from synood.errors import InputError
from synood.files import cache_folder, readable
from synood.images.imglist import read_imglist
from synood.images.scanning import is_clutter
from synood.images.sources import find_images, folder_per_class
from synood.labels.imagenet import class_names_by_wnid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from synood.benchmark.suites.catalog import KnownSet
    from synood.benchmark.suites.suite import Role
    from synood.images.sources import ImageIndex
    from synood.labels.imagenet import Naming


def open_benchmark(
    name: str,
    root: Path | None = None,
    *,
    roles: Sequence[Role] = ROLES,
    naming: Naming = "openai",
) -> Suite:
    """Return the suite of a benchmark whose files lie below `root`.

    The embedded ones ("mini", "mini-main", "mini-crowded") are written to `root`, or to the user's
    cache, at their first use. Of the others only the sets of `roles` are listed; `naming` is which
    class names to use for ImageNet.

    Raises `InputError` for an unknown name and for a missing set. A wrong number of images is not
    an error here; `synood.benchmark.suites.verify` reports it.
    """
    benchmark = find_benchmark(name)
    if name in MINI:
        from synood.benchmark.suites.mini import prepare_mini

        return prepare_mini(mini_root(name, root), split=MINI[name])
    top = required_root(name, root)
    sets = []
    for known in benchmark.sets:
        if known.role in roles:
            index = list_set(known, top, naming)
            sets.append(
                ImageSet(known.name, known.group, known.role, index.root, len(index.records), index)
            )
    return Suite(top, name, 0, "", tuple(sets), by_content=False)


def class_names_of(name: str, root: Path | None = None, naming: Naming = "openai") -> list[str]:
    """Return the class names of a benchmark; only the embedded ones need files for that."""
    find_benchmark(name)
    if name in MINI:
        return list(open_benchmark(name, root).one("train").index().class_names)
    return list(class_names_by_wnid(naming).values())


def mini_root(name: str, root: Path | None) -> Path:
    """Return the folder of an embedded benchmark: `root`, else one in the user's cache."""
    return cache_folder() / name if root is None else root


def required_root(name: str, root: Path | None) -> Path:
    """Return `root`, the folder that holds a benchmark's sets; None is an `InputError`."""
    if root is None:
        raise InputError(f"benchmark {name!r}: give the folder of its image sets (--root DIR)")
    if not root.is_dir():
        raise InputError(f"{readable(root)}: no such folder; give the one of the image sets")
    return root


def list_set(known: KnownSet, root: Path, naming: Naming = "openai") -> ImageIndex:
    """List a set's images where its owners put them; a missing one is an `InputError`."""
    folder = find_place(known, root)
    if folder is None:
        raise InputError(missing_place(known, root))
    if known.imglist is not None:
        return _listed(known, find_list(known, folder), folder, naming)
    folders = _folders_in(folder) if known.by_class else []
    if folders:
        return folder_per_class(folder, _names_of_folders(folder, folders, naming))
    return find_images([folder])


def find_place(known: KnownSet, root: Path) -> Path | None:
    """Return the first of the set's folders that exists below `root`, None where none does."""
    return next((root / place for place in known.places if (root / place).is_dir()), None)


def find_list(known: KnownSet, folder: Path) -> Path:
    """Return where the owners' list of a set lies, beside its `folder` of images."""
    return folder.parent / str(known.imglist)


def missing_place(known: KnownSet, root: Path) -> str:
    """Return an error for a missing set: where it was expected, and where to get it."""
    return (
        f"{readable(root / known.places[0])}: missing, the images of {known.name!r}; "
        f"get them from {known.source}"
    )


def _listed(known: KnownSet, path: Path, folder: Path, naming: Naming) -> ImageIndex:
    if not path.is_file():
        raise InputError(f"{readable(path)}: missing, the list of {known.name!r}")
    if known.group != "id":
        return read_imglist(path, folder)
    names = tuple(class_names_by_wnid(naming).values())
    index = read_imglist(path, folder, names)
    return replace(index, class_names=index.used_class_names())


def _folders_in(folder: Path) -> list[str]:
    return sorted(
        path.name for path in folder.iterdir() if not is_clutter(path.name) and path.is_dir()
    )


def _names_of_folders(folder: Path, folders: Sequence[str], naming: Naming) -> dict[str, str]:
    """Return folder -> class name for the class folders that are there."""
    names = class_names_by_wnid(naming)
    for name in folders:
        if name not in names:
            raise InputError(
                f"{readable(folder / name)}: is not a class of ImageNet-1k; folders are named by "
                "WordNet ids such as n01440764"
            )
    return {name: names[name] for name in folders}
