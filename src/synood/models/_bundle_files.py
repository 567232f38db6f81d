"""The files of a bundle on disk: found inside it, and compared with its hashes before use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from synood.errors import CheckpointError
from synood.files import sha256_file, sha256_once

if TYPE_CHECKING:
    from collections.abc import Mapping

_PAPERS = ("readme", "license", "licence", "notice")  # starts of names that no loader opens


@dataclass(frozen=True)
class BundleFiles:
    """The folder of a bundle, None where every part comes from the hub.

    `hashes` are the SHA-256 that its bundle.json lists by name, None where it lists none.
    """

    bundle: str
    root: Path | None
    hashes: Mapping[str, str] | None

    def checked(self, place: str) -> Path:
        """Return the path of a file, or of a folder with all of its files, that is as listed.

        One that is missing, altered, not listed, or a link out of the bundle is refused.
        """
        path = self.inside(place)
        if os.path.isdir(path):  # noqa: PTH112 - as in `_check`
            for file in self._listed_below(place) | set(files_below(path)):
                self._check(file)
        else:
            self._check(path)
        return path

    def inside(self, place: str) -> Path:
        """Return the path of a place, not yet checked; one outside the bundle is refused."""
        pure = PurePosixPath(place)
        if not place or pure.is_absolute() or ".." in pure.parts or "\\" in place:
            raise CheckpointError(f"{self._folder}/bundle.json: {place!r} is not inside the bundle")
        return self._folder.joinpath(*pure.parts)

    def _listed_below(self, folder: str) -> set[Path]:
        prefix = PurePosixPath(folder)
        names = (PurePosixPath(name) for name in self.hashes or ())
        return {self.inside(str(name)) for name in names if prefix in name.parents}

    def _check(self, path: Path) -> None:
        root = self._folder
        if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises for a name too long
            raise CheckpointError(f"{path}: missing; restore the bundle {self.bundle!r}")
        if not path.resolve().is_relative_to(root.resolve()):
            raise CheckpointError(f"{path}: is a link out of the bundle; put the file itself there")
        if self.hashes is None:
            return
        expected = self.hashes.get(path.relative_to(root).as_posix())
        if expected is None:
            raise CheckpointError(f"{path}: not listed in {root}/bundle.json; remove it or list it")
        if sha256_once(path) != expected:
            raise CheckpointError(
                f"{path}: altered (its SHA-256 is not the one in bundle.json); restore the bundle"
            )

    @property
    def _folder(self) -> Path:
        if self.root is None:
            raise CheckpointError(
                f"bundle {self.bundle!r}: a `path` needs a directory; use an `id`"
            )
        return self.root


def hashes_below(directory: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that a loader might open, by name."""
    files = files_below(directory)
    return {path.relative_to(directory).as_posix(): sha256_file(path) for path in files}


def files_below(directory: Path) -> list[Path]:
    """Return every file that a loader might open, sorted, without README, LICENSE and the like."""
    return [
        path
        for path in sorted(directory.rglob("*"))
        if not path.is_dir() and not _is_paper(path.relative_to(directory))
    ]


def _is_paper(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts) or path.name.lower().startswith(_PAPERS)
