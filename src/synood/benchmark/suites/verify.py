"""Is a benchmark on disk what its owners ship? Every set looked at, nothing taken on trust."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from synood.benchmark.suites.catalog import MINI, find_benchmark
from synood.benchmark.suites.layouts import (
    find_list,
    find_place,
    list_set,
    mini_root,
    required_root,
)
from synood.benchmark.suites.suite import read_suite
from synood.errors import InputError
from synood.files import readable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from synood.benchmark.suites.catalog import KnownSet
    from synood.benchmark.suites.suite import Group, ImageSet, Role
    from synood.images.sources import ImageIndex


@dataclass(frozen=True)
class SetCheck:
    """What was found of one set: where (None: nowhere), how many images, and what is wrong."""

    name: str
    group: Group
    role: Role
    place: str | None
    expected: int
    found: int
    problems: tuple[str, ...]
    source: str

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass(frozen=True)
class Check:
    """What was found of a benchmark below a folder."""

    benchmark: str
    root: str
    sets: tuple[SetCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether every set is there, whole and as its owners list it."""
        return all(item.ok for item in self.sets)

    def to_json(self) -> dict[str, Any]:
        """Return the check as JSON values."""
        return {
            "benchmark": self.benchmark,
            "root": self.root,
            "ok": self.ok,
            "sets": [{**asdict(item), "ok": item.ok} for item in self.sets],
        }


def check_benchmark(
    name: str, root: Path | None = None, roles: Iterable[Role] | None = None
) -> Check:
    """Compare a benchmark on disk with what its owners ship, set by set.

    Counts are compared for every set, lists line by line (whatever their order) and file names
    where a public source holds them; each image on a list must be there. No image is opened.
    `roles` narrows the look.

    Raises `InputError` for an unknown benchmark and a root that is no folder; whatever else is
    wrong is among the problems.
    """
    benchmark = find_benchmark(name)
    if name in MINI:
        place = mini_root(name, root)
        return Check(name, readable(place), _check_mini(place))
    top = required_root(name, root)
    wanted = [item for item in benchmark.sets if roles is None or item.role in roles]
    return Check(name, readable(top), tuple(_check_set(known, top) for known in wanted))


def list_hash(text: bytes) -> str:
    """SHA-256 over the lines of a list, sorted and stripped: their order and ends do not matter."""
    return _hash_lines(line.strip() for line in text.split(b"\n") if line.strip())


def names_hash(names: Iterable[str]) -> str:
    """SHA-256 over file names, sorted."""
    return _hash_lines(os.fsencode(name) for name in names)


def _hash_lines(lines: Iterable[bytes]) -> str:
    return sha256(b"".join(line + b"\n" for line in sorted(lines))).hexdigest()


def _check_set(known: KnownSet, root: Path) -> SetCheck:
    folder = find_place(known, root)
    if folder is None:
        return _result(known, None, 0, [f"missing; looked for {', '.join(known.places)}"])
    place = readable(folder.relative_to(root)) if folder != root else "."
    problems = _list_problems(known, folder)
    try:
        index = list_set(known, root)
    except InputError as error:
        return _result(known, place, 0, problems or [str(error)])
    if known.imglist is not None:
        problems += _absent(index)
    elif known.names_hash not in (None, names_hash(r.path.name for r in index.records)):
        problems.append("the files have other names than the owners'")
    found = len(index.records)
    if found != known.count:
        problems.insert(0, f"{found:,} images, the owners' set has {known.count:,}")
    return _result(known, place, found, problems)


def _result(known: KnownSet, place: str | None, found: int, problems: list[str]) -> SetCheck:
    return SetCheck(
        known.name, known.group, known.role, place, known.count, found, tuple(problems),
        known.source,
    )  # fmt: skip


def _list_problems(known: KnownSet, folder: Path) -> list[str]:
    """Compare the list with the owners', if there is one and its hash is known."""
    if known.imglist is None:
        return []
    try:
        text = find_list(known, folder).read_bytes()
    except OSError as error:
        return [f"{known.imglist}: {(error.strerror or 'cannot be read').lower()}"]
    if known.list_hash in (None, list_hash(text)):
        return []
    return [f"{known.imglist}: not the owners' list (SHA-256 of the sorted lines differs)"]


def _absent(index: ImageIndex) -> list[str]:
    """Name what is listed and not there; a folder is listed once, however many it should hold."""
    by_folder: defaultdict[Path, list[str]] = defaultdict(list)
    for record in index.records:
        by_folder[record.path.parent].append(record.path.name)
    absent: list[Path] = []
    for folder, names in by_folder.items():
        try:
            there = {entry.name for entry in os.scandir(folder)}
        except OSError:
            there = set[str]()
        absent.extend(folder / name for name in names if name not in there)
    if not absent:
        return []
    return [f"{len(absent):,} listed images are not there, the first {readable(absent[0])}"]


def _check_mini(root: Path) -> tuple[SetCheck, ...]:
    made = "written by any command that is given --benchmark; no download"
    try:
        suite = read_suite(root)
    except InputError as error:
        return (SetCheck("the suite", "id", "test", None, 0, 0, (str(error),), made),)
    return tuple(_check_written(item, suite.root, made) for item in suite.sets)


def _check_written(item: ImageSet, root: Path, made: str) -> SetCheck:
    problems: tuple[str, ...] = ()
    found = item.n
    try:
        item.index()
    except InputError as error:
        problems, found = (str(error),), 0
    place = readable(item.path.relative_to(root))
    return SetCheck(item.name, item.group, item.role, place, item.n, found, problems, made)
