"""Functions that give the same result, side by side and timed as `synood bench` times its rows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from synood.benchmark.speed import timing

if TYPE_CHECKING:
    from collections.abc import Callable


def compare(
    what: str, ours: Callable[[], object], peers: dict[str, Callable[[], object]], runs: int = 7
) -> None:
    """Print CPU milliseconds on one thread, the least of `runs`, and ours as a multiple of each."""
    with threadpool_limits(1):
        found = timing.compare({"synood": ours, **peers}, runs)
    print(f"{what}; load {os.getloadavg()[0]:.1f}")
    for name, least in found.items():
        print(f"  {name:<34} {least:9.1f} ms   {found['synood'] / least:6.2f}")
