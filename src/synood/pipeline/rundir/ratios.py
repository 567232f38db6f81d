"""All images of a listing without opening most of them: its fingerprint, and kept ratios."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from synood.files import write_bytes
from synood.images.selection import Ratios, measure_ratios

if TYPE_CHECKING:
    from pathlib import Path

    from synood.images.sources import ImageIndex
    from synood.pipeline.rundir.workspace import Workspace

MANY = 20_000  # from so many images on, their ratios are kept: they take minutes to read


def listing_fingerprint(index: ImageIndex) -> str:
    """Return sixteen hex digits over the id, label, size and time of every image."""
    digest = sha256()
    for record in index.records:
        size, time = _size_and_time(record.path)
        digest.update(f"{record.id}\0{record.label}\0{size}\0{time}\n".encode())
    return digest.hexdigest()[:16]


def kept_ratios(workspace: Workspace, index: ImageIndex, listing: str) -> Ratios:
    """Return every image's bytes per pixel; those of many images are kept in the run directory.

    Another recipe on the same images then opens none but the chosen ones.
    """
    count = len(index.records)
    if count < MANY:
        return measure_ratios(index)
    path = workspace.root / "ratios.safetensors"
    kept = _read(path, listing, count)
    if kept is not None:
        return kept
    workspace.notify("select", f"reads the headers of {count:,} images")
    ratios = measure_ratios(index)
    if not ratios.unreadable:
        _write(path, listing, ratios)
    return ratios


def _write(path: Path, listing: str, ratios: Ratios) -> None:
    from safetensors.numpy import save

    key = np.frombuffer(listing.encode(), np.uint8)
    write_bytes(path, save({"listing": key, "ratios": ratios.values}))


def _read(path: Path, listing: str, count: int) -> Ratios | None:
    """Return the kept ratios; None where they are missing or belong to other images."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
        key, values = tensors["listing"].tobytes(), tensors["ratios"]
    except (OSError, SafetensorError, KeyError):
        return None
    if key != listing.encode() or values.shape != (count,) or not np.isfinite(values).all():
        return None
    return Ratios(values, {})


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:  # such as a broken link: reading the image says what is wrong
        return -1, -1
    return status.st_size, status.st_mtime_ns
