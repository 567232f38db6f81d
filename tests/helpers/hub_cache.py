"""A hub cache of one's own: checkpoints laid out as huggingface_hub downloads them.

    CACHE/models--ORG--NAME/blobs/<hash>              the files
    CACHE/models--ORG--NAME/refs/main                 the commit
    CACHE/models--ORG--NAME/snapshots/<commit>/...    links to the blobs

A library then loads them by id with HF_HUB_OFFLINE=1, in this process under `using_cache` or in
another one with HF_HUB_CACHE=CACHE in its environment.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from synood.files import sha256_file
from synood.models import catalog as catalog_module
from synood.models.catalog import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LISTED = "somebody/small-clip"  # an id that `table_of` lists
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = {".safetensors", ".bin", ".model"}  # the hub names these after their SHA-256


def put(cache: Path, repo_id: str, directory: Path, revision: str = "main") -> str:
    """Move the files of `directory` into `cache` as those of `repo_id`; return the commit.

    They are moved, not copied, so that a full-size checkpoint needs its place once; the emptied
    folders stay. The commit is `revision` if that is one, else forty digits of the contents.
    """
    repository = cache / f"models--{repo_id.replace('/', '--')}"
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    blobs = {path.relative_to(directory): blob_name(path) for path in files}
    listing = "\n".join(f"{name.as_posix()} {blob}" for name, blob in blobs.items())
    given = re.fullmatch("[0-9a-f]{40}", revision)
    commit = (
        given[0] if given else hashlib.sha1(listing.encode(), usedforsecurity=False).hexdigest()
    )
    for name, blob in blobs.items():
        place, link = repository / "blobs" / blob, repository / "snapshots" / commit / name
        place.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        (directory / name).replace(place)
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(place, link.parent))
    if not given:
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / revision).write_text(commit)
    return commit


def blob_name(path: Path) -> str:
    """What the hub calls a file's contents: SHA-256 of a large one, git's hash of a small one."""
    if path.suffix in LARGE:
        return sha256_file(path)
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@contextmanager
def using_cache(cache: Path) -> Iterator[None]:
    """Let the libraries of this process find hub ids in `cache` and nowhere else."""
    from huggingface_hub import constants

    before = constants.HF_HUB_CACHE
    constants.HF_HUB_CACHE = str(cache)
    try:
        yield
    finally:
        constants.HF_HUB_CACHE = before


@contextmanager
def table_of(tmp_path: Path, **files: str) -> Iterator[None]:
    """A catalog that pins `LISTED` at `COMMIT` with these hashes, dots written as double lines."""
    rows = "\n".join(f'"{name.replace("__", ".")}" = "{digest}"' for name, digest in files.items())
    row = f'part = "encoder"\nlicence = "MIT"\nsource = "here"\nrevision = "{COMMIT}"'
    path = tmp_path / "catalog.toml"
    path.write_text(f'["{LISTED}"]\n{row}\n["{LISTED}".files]\n{rows}\n')
    before = catalog_module.TABLE
    try:
        catalog_module.TABLE = path
        catalog.cache_clear()
        yield
    finally:
        catalog_module.TABLE = before
        catalog.cache_clear()
