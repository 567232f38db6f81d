"""The images that a detector was made from, as its run remembers them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from synood.errors import InputError
from synood.files import read_jsonl, readable, sha256_file
from synood.images.sources import ImageIndex, ImageRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

LEARNED = frozenset({"tune", "learn", "probe"})  # uses of an image that are not its calibration


def images_root(run: Path) -> Path:
    """Return the folder that a run was made from, by its event log; it may have moved since."""
    path = run / "events.jsonl"
    started = (
        [row for row in read_jsonl(path) if row.get("event") == "start"] if path.exists() else []
    )
    if not started or not isinstance(started[-1].get("images"), str):
        raise InputError(f"{readable(run)}: does not say which images it was made from")
    return Path(started[-1]["images"])


def learned_images(run: Path, class_names: Sequence[str]) -> ImageIndex:
    """List the images that a run's detector learned from.

    Raises `InputError` where they are no longer there, or are others than they were.
    """
    if not (run / "select.jsonl").is_file():
        raise InputError(f"{readable(run)}: does not list the images it was made from")
    root = images_root(run)
    rows = [row for row in read_jsonl(run / "select.jsonl") if LEARNED & {*row["uses"]}]
    for row in rows:
        path = root / row["id"]
        if not path.is_file():
            raise InputError(f"{readable(path)}: is no longer there")
        if sha256_file(path) != row["sha256"]:
            raise InputError(f"{readable(path)}: has changed since the detector was made")
    records = [ImageRecord(row["id"], root / row["id"], row["label"]) for row in rows]
    if not records:
        raise InputError(f"{readable(run)}: lists no images that its detector learned from")
    return ImageIndex(root, tuple(class_names), tuple(records))
