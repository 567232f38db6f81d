"""Images that cannot be read: a result that stands in for theirs, so one never stops a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Unreadable:
    """Takes the place of an image's result; `reason` is a sentence that names the file."""

    reason: str


def check_unreadable(name: str, reasons: Sequence[str], total: int, max_bad: float) -> None:
    """Raise an `InputError` where too many of `total` images are unreadable to go on without.

    `max_bad` is the fraction to tolerate. A single unreadable image stops only 0, however few
    images there are; none readable is always an error.
    """
    most = max(1.0, max_bad * total) if max_bad else 0
    if len(reasons) > most or (reasons and len(reasons) == total):
        raise InputError(
            f"{name}: {len(reasons)} of {total} images cannot be read, more than --max-bad "
            f"{max_bad:g} allows; the first is {reasons[0]}"
        )


def or_unreadable(read: Callable[[T], R], item: T) -> R | Unreadable:
    """Apply `read`; an `InputError` becomes an `Unreadable` with its message."""
    try:
        return read(item)
    except InputError as error:
        return Unreadable(str(error))


def map_or_unreadable(read: Callable[[T], R], items: Sequence[T]) -> list[R | Unreadable]:
    """Apply `read` to each item; an `InputError` becomes an `Unreadable` with its message."""
    return [or_unreadable(read, item) for item in items]


def map_padded(
    values: Sequence[R | Unreadable], work: Callable[[list[R]], Sequence[T]], size: int = 0
) -> list[T | Unreadable]:
    """Apply `work` to the readable values as one batch of at least `size`.

    The first readable value fills the places of unreadable ones and those that the batch lacks:
    kernels may round differently at other batch sizes, so padding keeps results bit-identical.

    >>> map_padded([1, Unreadable("gone"), 3], lambda batch: [10 * value for value in batch])
    [10, Unreadable(reason='gone'), 30]
    """
    readable = [value for value in values if not isinstance(value, Unreadable)]
    if not readable:
        return [value for value in values if isinstance(value, Unreadable)]
    batch = [readable[0] if isinstance(value, Unreadable) else value for value in values]
    results = work(batch + readable[:1] * (size - len(batch)))
    return [
        value if isinstance(value, Unreadable) else result
        for value, result in zip(values, results, strict=False)
    ]
