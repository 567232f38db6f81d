"""Many images in little memory: their names in one buffer, a record made on request.

A million `ImageRecord`s take a gigabyte and several seconds; the names of a million images are a
buffer of 70 MB and a few arrays, found with NumPy in well under a second.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_Name = TypeVar("_Name", str, bytes)
_BLANK = np.isin(np.arange(256), list(b" \t\r\n\v\f\x1c\x1d\x1e\x1f"))
_NEWLINE, _SPACE, _MINUS, _ZERO = b"\n -0"
BOM = b"\xef\xbb\xbf"
_DIGITS = 18  # that fit into an int64
_WORD = 8  # bytes
_TAIL = 3 * _WORD  # bytes at a name's end that are compared before whole names are
_MIX = np.uint64(0x9E37_79B9_7F4A_7C15)  # odd, from the golden ratio


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image: `id` is its path below the index's root with `/`, `label` its class name."""

    id: str
    path: Path
    label: str | None


class Records(Sequence[ImageRecord]):
    """A fixed sequence of records, equal to any sequence of equal records.

    Args:
        base: folder that the names are below.
        names: the bytes of the names, in any order and with anything between them.
        starts: (N,) where each name begins.
        ends: (N,) where it ends.
        labels: (N,) indices into `class_names`, -1 for an image without a label.
        class_names: C names.
    """

    def __init__(
        self,
        base: Path,
        names: bytes,
        starts: NDArray[np.integer[Any]],
        ends: NDArray[np.integer[Any]],
        labels: NDArray[np.int64],
        class_names: Sequence[str] = (),
    ) -> None:
        self._base = base
        self._names = names
        kind = np.uint32 if len(names) < 2**32 else np.int64
        self._starts: NDArray[np.integer[Any]] = starts.astype(kind)
        self._ends: NDArray[np.integer[Any]] = ends.astype(kind)
        self._labels = labels.astype(np.int32)
        self._class_names = tuple(class_names)

    @classmethod
    def of_names(
        cls,
        base: Path,
        names: Sequence[bytes],
        labels: NDArray[np.int64],
        class_names: Sequence[str] = (),
    ) -> Records:
        """Make records of separate names."""
        ends = np.cumsum([len(name) for name in names], dtype=np.int64)
        starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
        return cls(base, b"".join(names), starts, ends, labels, class_names)

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, row: int) -> ImageRecord: ...

    @overload
    def __getitem__(self, row: slice) -> tuple[ImageRecord, ...]: ...

    def __getitem__(self, row: int | slice) -> ImageRecord | tuple[ImageRecord, ...]:
        if isinstance(row, slice):
            return tuple(self[each] for each in range(*row.indices(len(self))))
        name, label = self.name(row), int(self._labels[row])
        path = self._base / os.fsdecode(name)
        return ImageRecord(_text(name), path, None if label < 0 else self._class_names[label])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash((self._base, len(self)))

    def name(self, row: int) -> bytes:
        """Return the bytes of one name."""
        return self._names[int(self._starts[row]) : int(self._ends[row])]

    def used_labels(self) -> set[str]:
        """Return the class names of which there is a record."""
        return {self._class_names[label] for label in np.unique(self._labels) if label >= 0}

    def renamed(self, names: Mapping[str, str]) -> Records:
        """Return the records with other class names, which `names` has for each of these."""
        new = tuple(names[name] for name in self._class_names)
        labels = self._labels.astype(np.int64)
        return Records(self._base, self._names, self._starts, self._ends, labels, new)

    def label_indices(self, indices: Mapping[str, int]) -> NDArray[np.int64]:
        """Return what `indices` has for each record's label (N,), -1 for none."""
        by_label = [*(indices.get(name, -1) for name in self._class_names), -1]
        found: NDArray[np.int64] = np.array(by_label, np.int64)[self._labels]
        return found

    def first_repeat(self) -> str | None:
        """Return the first id that repeats an earlier one, None where all differ."""
        if not _is_text(self._names):  # then different bytes may have one text
            return first_repeat([record.id for record in self])
        rows = np.flatnonzero(_shared(self._tail_hashes()))
        found = first_repeat([self.name(int(row)) for row in rows])
        return None if found is None else found.decode()

    def _tail_hashes(self) -> NDArray[np.uint64]:
        """Return a hash of each name's end and length; (N,)."""
        words = _words(bytes(_TAIL) + self._names)
        ends = self._ends.astype(np.int64)
        lengths = ends - self._starts.astype(np.int64)
        hashes = lengths.astype(np.uint64)
        for before in range(0, _TAIL, _WORD):
            word = words[ends + (_TAIL - before - _WORD)]
            inside = np.clip(lengths - before, 0, _WORD)  # bytes of the word that are the name's
            word = word >> (8 * np.minimum(_WORD - inside, _WORD - 1)).astype(np.uint64)
            hashes = (hashes ^ np.where(inside > 0, word, np.uint64(0))) * _MIX
            hashes ^= hashes >> np.uint64(32)
        return hashes


def _words(data: bytes) -> NDArray[np.uint64]:
    """Return the eight bytes from each offset on, as a little-endian number."""
    return np.ndarray((len(data) - _WORD + 1,), "<u8", data, strides=(1,))


def read_lines(
    data: bytes,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Find the names and numbers in an imglist, given as bytes.

    A line is "some path.jpg 12": a name and, after the last space, a whole number; without one
    there is no label. Blank lines are skipped, blanks around lines and names are stripped.

    Returns:
        starts, ends: (N,) where each line's name begins and ends in `data`.
        numbers: (N,) the numbers, -1 where a line has none or a negative one.
        lines: (N,) line numbers, from 1.
    """
    data = data or b"\n"
    array = np.frombuffer(data, np.uint8)
    breaks = np.flatnonzero(array == _NEWLINE)
    starts = np.concatenate([[len(BOM) if data.startswith(BOM) else 0], breaks + 1])
    ends = np.concatenate([breaks, [len(array)]])
    ends = _trimmed(array, starts, ends)
    lines = np.flatnonzero(ends > starts)
    starts, ends = starts[lines], ends[lines]
    while (blank := _BLANK[array[starts]]).any():
        starts = starts + blank
    cut, numbers = _numbers(array, starts, ends)
    ends = np.where(cut >= 0, _trimmed(array, starts, np.maximum(cut, starts)), ends)
    return starts, ends, numbers, lines + 1


def _trimmed(
    array: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Move ends left over blanks, at most to the starts."""
    while (blank := (ends > starts) & _BLANK[array[np.maximum(ends - 1, 0)]]).any():
        ends = ends - blank
    return ends


def _numbers(
    array: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the offset of the space before each line's number, -1 without one, and the number."""
    spaces = np.concatenate([[-1], np.flatnonzero(array == _SPACE)])
    cut = spaces[np.searchsorted(spaces, ends) - 1]
    first = np.minimum(cut + 1, len(array) - 1)
    negative = array[first] == _MINUS
    digits = ends - first - negative
    whole = (cut > starts) & (digits >= 1) & (digits <= _DIGITS)
    values = np.zeros(len(ends), np.int64)
    for power in range(int(digits[whole].max(initial=0))):
        inside = whole & (power < digits)
        digit = array[np.maximum(ends - 1 - power, 0)].astype(np.int64) - _ZERO
        whole &= ~inside | ((digit >= 0) & (digit <= 9))
        values += np.where(inside, digit * 10**power, 0)
    return np.where(whole, cut, -1), np.where(whole & ~negative, values, -1)


def _shared(hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Say for each hash whether another one equals it."""
    ordered = np.sort(hashes)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(twice):
        return np.zeros(len(hashes), bool)
    return np.isin(hashes, twice)


def first_repeat(names: Sequence[_Name]) -> _Name | None:
    """Return the first name that repeats an earlier one, None where all differ."""
    seen: set[_Name] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def refuse_repeat(repeated: str | None, source: str) -> None:
    """Raise an `InputError` when an id of `source` is repeated."""
    if repeated is not None:
        raise InputError(f"{source}: the image {repeated!r} is listed twice")


def _is_text(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
