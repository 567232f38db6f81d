"""Checks that a benchmark on disk is what its owners ship, set by set."""

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
    """What was found of one set: where (None: missing), how many images, and the problems."""

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
        """Whether there are no problems."""
        return not self.problems


@dataclass(frozen=True)
class Check:
    """What was found of a benchmark below a folder; `note` is for the reader."""

    benchmark: str
    root: str
    sets: tuple[SetCheck, ...]
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether every set is complete and as its owners list it."""
        return all(item.ok for item in self.sets)

    def to_json(self) -> dict[str, Any]:
        """Return the check as JSON values."""
        return {
            "benchmark": self.benchmark,
            "root": self.root,
            "ok": self.ok,
            "note": self.note,
            "sets": [{**asdict(item), "ok": item.ok} for item in self.sets],
        }


def check_benchmark(
    name: str, root: Path | None = None, roles: Iterable[Role] | None = None
) -> Check:
    """Compare a benchmark on disk with what its owners ship, set by set.

    Counts are compared for every set, lists line by line in any order, and file names where a
    public source holds them; each listed image must exist. No image is opened. `roles` limits
    which sets are checked.

    Raises `InputError` for an unknown benchmark and a root that is not a folder; everything else
    is among the problems.
    """
    benchmark = find_benchmark(name)
    if name in MINI:
        return _check_mini(name, mini_root(name, root))
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
        problems.append("the file names differ from the owners'")
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
    """Compare the list, if the set has one, with the hash of the owners' list, if it is known."""
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
    """Name listed images that are missing; each folder is read once."""
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
    return [f"{len(absent):,} listed images are missing, the first is {readable(absent[0])}"]


def _check_mini(name: str, root: Path) -> Check:
    """Check an embedded benchmark, which is complete as long as nothing has been written."""
    if not (root / "suite.json").exists():
        return Check(name, readable(root), (), "embedded: written when it is first used")
    source = f"delete {readable(root)}; it is written again when it is used, without a download"
    try:
        suite = read_suite(root)
    except InputError as error:
        broken = SetCheck("the suite", "id", "test", ".", 0, 0, (str(error),), source)
        return Check(name, readable(root), (broken,))
    sets = tuple(_check_written(item, suite.root, source) for item in suite.sets)
    return Check(name, readable(root), sets)


def _check_written(item: ImageSet, root: Path, made: str) -> SetCheck:
    problems: tuple[str, ...] = ()
    found = item.n
    try:
        item.index()
    except InputError as error:
        problems, found = (str(error),), 0
    place = readable(item.path.relative_to(root))
    return SetCheck(item.name, item.group, item.role, place, item.n, found, problems, made)
