"""Catalog of public checkpoints: revision, licence and file hashes (`catalog.toml`)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLE = Path(__file__).with_name("catalog.toml")


@dataclass(frozen=True)
class Entry:
    """One public checkpoint; `revision` is None and `files` empty where unknown."""

    part: str
    licence: str
    source: str
    kind: str = ""
    revision: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)


@cache
def catalog() -> dict[str, Entry]:
    """Return every checkpoint of the table by its hub id.

    >>> catalog()["microsoft/resnet-50"].licence
    'Apache-2.0'
    """
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return {repo_id: Entry(**row) for repo_id, row in table.items()}


def pinned(source: str | Path, revision: str | None = None) -> str | None:
    """Return the revision to load: the given one, else the catalog's, else None."""
    entry = _entry(source)
    return revision or (entry.revision if entry else None)


def known_files(source: str | Path, revision: str | None = None) -> Mapping[str, str]:
    """Return SHA-256 by file name for the catalog's revision; empty for any other."""
    entry = _entry(source)
    return entry.files if entry and pinned(source, revision) == entry.revision else {}


def _entry(source: str | Path) -> Entry | None:
    return None if Path(source).is_dir() else catalog().get(str(source))
