"""What a run knows of all images without opening most: a listing's print, and kept ratios."""

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

MANY = 20_000  # images from which on their ratios are kept: minutes of opening files


def listing_fingerprint(index: ImageIndex) -> str:
    """Sixteen hex digits of what can be told of every image without opening it."""
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

    mark = np.frombuffer(listing.encode(), np.uint8)
    write_bytes(path, save({"listing": mark, "ratios": ratios.values}))


def _read(path: Path, listing: str, count: int) -> Ratios | None:
    """Return the ratios of these very images; None where they are absent or of others."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
        mark, values = tensors["listing"].tobytes(), tensors["ratios"]
    except (OSError, SafetensorError, KeyError):
        return None
    if mark != listing.encode() or values.shape != (count,) or not np.isfinite(values).all():
        return None
    return Ratios(values, {})


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:  # a link to nothing, say: reading the image tells what is wrong
        return -1, -1
    return status.st_size, status.st_mtime_ns
