"""Times functions that give the same result, in turn, on one thread."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Callable


def compare(
    what: str, ours: Callable[[], object], peers: dict[str, Callable[[], object]], runs: int = 7
) -> None:
    """Print CPU milliseconds (minimum and median of `runs`), and each as a multiple of ours.

    The functions run in turn, so that other load on the machine affects all of them alike.
    """
    functions = {"synood": ours, **peers}
    spent: dict[str, list[float]] = {name: [] for name in functions}
    with threadpool_limits(1):
        for function in functions.values():
            function()
        for _ in range(runs):
            for name, function in functions.items():
                start = time.process_time()
                function()
                spent[name].append(1e3 * (time.process_time() - start))
    print(what)
    for name, times in spent.items():
        ratio = min(times) / min(spent["synood"])
        print(
            f"  {name:<34} {min(times):9.1f} ms, median {statistics.median(times):9.1f}"
            f"   {ratio:5.1f} x"
        )
