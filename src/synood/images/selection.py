"""Which in-distribution images the method redraws: the most complex ones of each class."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from synood.errors import InputError
from synood.files import readable
from synood.images._headers import HEAD, size_in_head
from synood.images.decoding import MAX_PIXELS, image_size
from synood.images.remote import RemotePath

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from synood.images.sources import ImageIndex, ImageRecord

THREADS = 16  # that open files: more than cores, since they wait for the disk
_AT_ONCE = 256  # images per task of a thread


@dataclass(frozen=True)
class Selected:
    """A chosen image and its bytes per pixel."""

    record: ImageRecord
    bytes_per_pixel: float


@dataclass(frozen=True, eq=False)
class Ratios:
    """Bytes per pixel of an index's images (N,), NaN for the `unreadable` ones: row -> reason."""

    values: NDArray[np.float64]
    unreadable: Mapping[int, str]


def bytes_per_pixel(path: Path) -> float:
    """File size divided by the number of pixels: a detailed image compresses worse.

    Paper §3.4; authors' code, cleaned/clean_data.py:15-24. Only the header is read; a file that
    is not an image is an `InputError`.
    """
    width, height = image_size(path)
    try:
        return path.stat().st_size / (width * height)
    except OSError as error:  # gone since its header was read
        raise InputError(f"{readable(path)}: cannot be read ({error.strerror})") from None


def measure_ratios(index: ImageIndex, threads: int = THREADS) -> Ratios:
    """Read the header of every image: its bytes per pixel, as `bytes_per_pixel` says it.

    Several threads open files, since most of the time is spent waiting for the disk. The size of a
    JPEG or PNG is read from its first bytes, all others by the decoder, one at a time.
    """
    values = np.full(len(index.records), np.nan)
    unreadable: dict[int, str] = {}
    decoder = Lock()

    def measure(start: int) -> None:
        for row, record in enumerate(index.records[start : start + _AT_ONCE], start):
            try:
                values[row] = _quick_ratio(record.path) or _locked_ratio(record.path, decoder)
            except InputError as error:
                unreadable[row] = str(error)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(measure, range(0, len(values), _AT_ONCE)))
    return Ratios(values, dict(sorted(unreadable.items())))


def select_complex(
    index: ImageIndex, per_class: int, ratios: NDArray[np.float64] | None = None
) -> list[Selected]:
    """Choose the `per_class` images with the most bytes per pixel of each class.

    Classes keep the order of the index; images are in descending order of the ratio, then by id. A
    class with fewer images gives all. The authors' code compares the ratios as text
    (clean_data.py:38-39); here they are numbers. `ratios` (N,) are those of the index's images if
    they are known already, NaN for images to skip.

    Raises:
        InputError: an image has no label, or cannot be read.
    """
    if ratios is None:
        _checked_labels(index, per_class)
        measured = measure_ratios(index)
        if measured.unreadable:
            raise InputError(next(iter(measured.unreadable.values())))
        ratios = measured.values
    rows = complex_rows(index, per_class, ratios)
    return [Selected(index.records[row], float(ratios[row])) for row in rows]


def complex_rows(index: ImageIndex, per_class: int, ratios: NDArray[np.float64]) -> list[int]:
    """Like `select_complex`, but return the rows of the chosen images."""
    labels = _checked_labels(index, per_class)
    chosen: list[int] = []
    for rows in rows_by_class(labels, len(index.class_names)):
        rows = rows[~np.isnan(ratios[rows])]
        if len(rows) > per_class:  # those at least as complex as the last one that fits
            least = np.partition(ratios[rows], -per_class)[-per_class]
            rows = rows[ratios[rows] >= least]
        ranked = sorted((-float(ratios[row]), index.records[int(row)].id, int(row)) for row in rows)
        chosen.extend(row for _, _, row in ranked[:per_class])
    return chosen


def _checked_labels(index: ImageIndex, per_class: int) -> NDArray[np.int64]:
    """Return the class index of each image (N,); refuse what cannot be selected from."""
    if per_class < 1:
        raise InputError(f"select.per_class is {per_class}; it must be at least 1")
    labels = index.label_indices()
    if len(labels) and labels.min() < 0:
        path = index.records[int(labels.argmin())].path
        raise InputError(f"{readable(path)}: has no class; selection is per class")
    return labels


def rows_by_class(labels: NDArray[np.int64], count: int) -> list[NDArray[np.int64]]:
    """Return the rows of each of `count` classes, ascending; `labels` (N,) are class indices.

    >>> [rows.tolist() for rows in rows_by_class(np.array([1, 0, 1]), 3)]
    [[1], [0, 2], []]
    """
    order = np.argsort(labels, kind="stable")
    ends = np.searchsorted(labels[order], np.arange(count + 1))
    return [order[ends[label] : ends[label + 1]] for label in range(count)]


def _quick_ratio(path: Path) -> float | None:
    """Return the ratio of a file whose first bytes give its size, None for any other."""
    try:
        head, weight = _remote_head(path) if isinstance(path, RemotePath) else _local_head(path)
    except (OSError, ValueError, InputError):
        return None
    size = size_in_head(head)
    if size is None or size[0] * size[1] > MAX_PIXELS:
        return None
    return weight / (size[0] * size[1])


def _local_head(path: Path) -> tuple[bytes, int]:
    """Return the first bytes of a regular file and its size; no bytes of anything else."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        status = os.fstat(descriptor)
        head = os.read(descriptor, HEAD) if stat.S_ISREG(status.st_mode) else b""
    finally:
        os.close(descriptor)
    return head, status.st_size


def _remote_head(path: RemotePath) -> tuple[bytes, int]:
    with path.open() as file:
        return file.read(HEAD), path.stat().st_size


def _locked_ratio(path: Path, decoder: Lock) -> float:
    with decoder:  # Pillow's warnings are silenced for the whole process while it looks
        return bytes_per_pixel(path)
