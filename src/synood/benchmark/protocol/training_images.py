"""The images that a detector was made from, as its run remembers them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from synood.errors import InputError
from synood.files import read_jsonl, readable, sha256_file
from synood.images.sources import ImageIndex, ImageRecord
from synood.pipeline.rundir.selection import read_selection

if TYPE_CHECKING:
    from collections.abc import Sequence

LEARNED = frozenset({"tune", "learn", "probe", "evidence"})  # uses that are more than calibration


def images_root(run: Path) -> Path:
    """Return the folder that a run was made from, by its event log; it may have moved since."""
    path = run / "events.jsonl"
    started = (
        [row for row in read_jsonl(path) if row.get("event") == "start"] if path.exists() else []
    )
    if not started or not isinstance(started[-1].get("images"), str):
        raise InputError(f"{readable(run)}: does not say which images it was made from")
    return Path(started[-1]["images"])


def selected_images(run: Path) -> ImageIndex:
    """List the images that a run uses, wherever they were when it was made; none is looked for."""
    path = run / "select.jsonl"
    if not path.is_file():
        raise InputError(f"{readable(run)}: does not list the images it was made from")
    root = images_root(run)
    records = [ImageRecord(row["id"], root / row["id"], row["label"]) for row in read_jsonl(path)]
    return ImageIndex(root, (), tuple(records))


def learned_images(run: Path, class_names: Sequence[str]) -> ImageIndex:
    """List the images that a run's detector learned from.

    Raises `InputError` where they are no longer there, or are others than they were.
    """
    index = selected_images(run)
    chosen = read_selection(run / "select.jsonl", index) or ()
    used = [image for image in chosen if LEARNED & {*image.uses}]
    for image in used:
        if not image.path.is_file():
            raise InputError(f"{readable(image.path)}: is no longer there")
        if sha256_file(image.path) != image.sha256:
            raise InputError(f"{readable(image.path)}: has changed since the detector was made")
    if not used:
        raise InputError(f"{readable(run)}: lists no images that its detector learned from")
    records = tuple(ImageRecord(image.id, image.path, image.label) for image in used)
    return ImageIndex(index.root, tuple(class_names), records)
