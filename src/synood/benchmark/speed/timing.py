"""Functions timed in turn in one process, so that other load on the machine affects all alike."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Timed:
    """A row: milliseconds of CPU, the minimum of several runs, of ours and of each peer.

    `missing` says what is not installed: peers, or what ours needs, which is None then.
    """

    row: str
    what: str
    ours: float | None
    peers: Mapping[str, float]
    missing: tuple[str, ...] = ()

    def ratio(self, peer: str) -> float | None:
        """How many times as long as a peer ours takes; None where a coarse clock saw no time."""
        return self.ours / self.peers[peer] if self.ours and self.peers[peer] else None

    def to_json(self) -> dict[str, Any]:
        """Return the fields, and the ratio to each peer."""
        return {
            "row": self.row,
            "what": self.what,
            "cpu_ms": self.ours,
            "peers": {
                name: {"cpu_ms": least, "ratio": self.ratio(name)}
                for name, least in self.peers.items()
            },
            "missing": list(self.missing),
        }


def compare(
    functions: Mapping[str, Callable[[], object]],
    runs: int,
    clock: Callable[[], float] = time.process_time,
    *,
    warm: bool = True,
) -> dict[str, float]:
    """Return the least milliseconds of each function, where `warm` after one that doesn't count."""
    least = dict.fromkeys(functions, float("inf"))
    for number in range(runs + warm):
        for name, function in functions.items():
            start = clock()
            function()
            if number >= warm:
                least[name] = min(least[name], 1e3 * (clock() - start))
    return least


def children() -> float:
    """Seconds of CPU of the processes that this one has started and waited for."""
    used = os.times()
    return used.children_user + used.children_system


def load() -> float | None:
    """Return the machine's load of the last minute, or None where there is no such figure."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
