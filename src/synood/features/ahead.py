"""Work that is done ahead in threads: images are decoded while others are encoded.

Pillow and torch leave the interpreter to other threads while they compute.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

T = TypeVar("T")
R = TypeVar("R")

_MOST = 8  # threads; more images in memory at once than that help no encoder


def readers() -> int:
    """Return how many images are to be decoded at once: as many as there are cores, up to 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(_MOST, cores or 1)


@contextmanager
def threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of threads; what has not begun at the end of the block is not done."""
    pool = ThreadPoolExecutor(count, "synood-read")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def ahead(
    work: Callable[[T], R], items: Iterable[T], pool: ThreadPoolExecutor, count: int
) -> Iterator[R]:
    """Yield `work` of each item, in order, while the next `count` are worked on in `pool`.

    An error is raised where its item's result is due.

    >>> with threads(2) as pool:
    ...     list(ahead(lambda number: 10 * number, range(4), pool, 2))
    [0, 10, 20, 30]
    """
    begun: deque[Future[R]] = deque()
    try:
        for item in items:
            begun.append(pool.submit(work, item))
            if len(begun) > count:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:  # what nobody waits for any more is not begun
        for future in begun:
            future.cancel()
