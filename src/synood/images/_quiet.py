"""Pillow's warnings turned off while threads decode.

`warnings.catch_warnings` puts the list of filters back that it found, so two threads that leave in
the order in which they came would leave it changed for good.
"""

from __future__ import annotations

import threading
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOCK = threading.Lock()
_ADDED: list[Any] = []  # the filter, once for each thread in a block


@contextmanager
def pillow_quiet() -> Iterator[None]:
    """Ignore warnings that Pillow's own code gives, and no others, in any number of threads."""
    with _LOCK:
        if not _ADDED:
            warnings.filterwarnings("ignore", module="PIL")
        _ADDED.append(warnings.filters[0] if not _ADDED else _ADDED[0])
    try:
        yield
    finally:
        with _LOCK:
            added = _ADDED.pop()
            if not _ADDED:
                with suppress(ValueError):  # of a list that somebody has replaced since
                    warnings.filters.remove(added)  # type: ignore[attr-defined]
