"""A benchmark suite: named image sets, each with a group and a role, read from `suite.json`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from synood.errors import InputError
from synood.files import fingerprint, read_json, sha256_file
from synood.images.sources import ImageIndex, find_images, folder_per_class

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA = 1
GROUPS = ("id", "near", "far")

Group = Literal["id", "near", "far"]
Role = Literal["train", "validation", "test"]
ROLES: tuple[Role, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class ImageSet:
    """One named set of images, with its group and the role that it may be used in.

    In-distribution sets are one folder per class; OOD sets are folders of images. The sets of
    published benchmarks come already listed (`listed`), from the owners' list or from a folder.
    """

    name: str
    group: Group
    role: Role
    path: Path
    n: int
    listed: ImageIndex | None = field(default=None, compare=False, repr=False)

    def index(self) -> ImageIndex:
        """List the set's images in a fixed order; `InputError` when their number is not `n`."""
        if self.listed is not None:
            return self.listed
        found = folder_per_class(self.path) if self.group == "id" else find_images([self.path])
        if len(found.records) != self.n:
            raise InputError(
                f"{self.path}: holds {len(found.records)} images, suite.json says {self.n}; "
                "write the suite again"
            )
        return found


@dataclass(frozen=True)
class Suite:
    """A whole suite. Choices may use `train` and `validation` sets; `test` sets are only reported.

    `by_content` is whether its fingerprint covers the content of every image, or names and sizes.
    """

    root: Path
    name: str
    seed: int
    split: str
    sets: tuple[ImageSet, ...]
    by_content: bool = True

    @property
    def validated(self) -> bool:
        """Whether it has in-distribution and OOD validation images, to choose settings on.

        Without them, methods are measured with their published settings.
        """
        groups = {item.group for item in self.sets if item.role == "validation"}
        return "id" in groups and len(groups) > 1

    def one(self, role: Role) -> ImageSet:
        """Return the in-distribution set of a role; `InputError` where the suite has none."""
        for item in self.sets:
            if item.role == role and item.group == "id":
                return item
        raise InputError(f"benchmark {self.name!r}: has no in-distribution images for {role}")

    def ood(self, role: Role) -> tuple[ImageSet, ...]:
        """Return the OOD sets of a role, near ones first, each group in the suite's order."""
        chosen = [item for item in self.sets if item.role == role and item.group != "id"]
        return tuple(sorted(chosen, key=lambda item: GROUPS.index(item.group)))

    def fingerprint(self) -> str:
        """Sixteen hex digits that change with any image, its name or its role."""
        listing = [
            (item.name, item.group, item.role, record.id, self._content_or_size(record.path))
            for item in self.sets
            for record in item.index().records
        ]
        return fingerprint(self.name, self.seed, self.split, listing)

    def _content_or_size(self, path: Path) -> str | int:
        return sha256_file(path) if self.by_content else path.stat().st_size


def read_suite(root: Path) -> Suite:
    """Read `root`/suite.json and check its sets; an `InputError` names the file and the field."""
    path = root / "suite.json"
    value = read_json(path)
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        found = value.get("schema") if isinstance(value, dict) else None
        raise InputError(f"{path}: schema is {found!r}, this version reads {SCHEMA}")
    for name, kind in (("name", str), ("seed", int), ("split", str), ("sets", list)):
        if not isinstance(value.get(name), kind):
            raise InputError(f"{path}: the field {name!r} is missing or not a {kind.__name__}")
    sets = tuple(_read_set(root, item, f"{path}, set {i}") for i, item in enumerate(value["sets"]))
    _check_sets(path, sets)
    return Suite(root, value["name"], value["seed"], value["split"], sets)


def check_disjoint(suite: Suite) -> None:
    """Refuse a suite in which the same image (equal bytes) has two roles.

    Tuning on a test image would invalidate every result; the `InputError` names both files.
    """
    seen: dict[str, tuple[Role, Path]] = {}
    for item in suite.sets:
        for record in item.index().records:
            digest = sha256_file(record.path)
            role, path = seen.setdefault(digest, (item.role, record.path))
            if role != item.role:
                raise InputError(
                    f"{record.path}: the same image as {path}, but one is for {item.role} and "
                    f"the other for {role}; remove one of them"
                )


def _read_set(root: Path, value: object, where: str) -> ImageSet:
    if not isinstance(value, dict):
        raise InputError(f"{where}: not an object")
    for name in ("name", "path"):
        if not isinstance(value.get(name), str) or not value[name]:
            raise InputError(f"{where}: the field {name!r} is missing")
    _one_of(value, "group", GROUPS, where)
    _one_of(value, "role", ROLES, where)
    if not isinstance(value.get("n"), int) or value["n"] < 1:
        raise InputError(f"{where}: 'n' must be the number of images, not {value.get('n')!r}")
    inside = Path(value["path"])
    if inside.is_absolute() or ".." in inside.parts:
        raise InputError(f"{where}: {value['path']!r} leads out of the suite's folder")
    path = root / inside
    if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for a name too long
        raise InputError(f"{path}: the folder of the set {value['name']!r} is missing")
    group, role = cast("Group", value["group"]), cast("Role", value["role"])
    return ImageSet(value["name"], group, role, path, value["n"])


def _one_of(value: dict[str, Any], name: str, allowed: Sequence[str], where: str) -> None:
    if value.get(name) not in allowed:
        raise InputError(f"{where}: {name!r} must be one of {allowed}, not {value.get(name)!r}")


def _check_sets(path: Path, sets: tuple[ImageSet, ...]) -> None:
    for role in ROLES:
        count = sum(item.role == role and item.group == "id" for item in sets)
        if count != 1:
            raise InputError(f"{path}: needs one in-distribution set for {role}, has {count}")
    for role in ("validation", "test"):
        if not any(item.role == role and item.group != "id" for item in sets):
            raise InputError(f"{path}: has no OOD set for {role}")
    names = [(item.role, item.name) for item in sets]
    for role_name in names:
        if names.count(role_name) > 1:
            raise InputError(f"{path}: two {role_name[0]} sets are named {role_name[1]!r}")
