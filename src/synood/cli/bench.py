"""`synood bench`: how fast the hot paths are on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from synood.cli.console import deliver, deliver_data, table_text, tell
from synood.cli.exits import DONE
from synood.cli.options import Whole  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synood.benchmark.speed.timing import Timed

Row = Literal[
    "start",
    "decode",
    "encode",
    "folder",
    "cache",
    "score",
    "mining",
    "text",
    "selection",
    "imglist",
    "metrics",
    "tuning",
    "guided",
    "serve",
    "ray",
]


def bench(
    *,
    only: Annotated[tuple[Row, ...], Parameter(show_default=False)] = (),
    full: bool = False,
    threads: Whole = 1,
    runs: Whole = 5,
    format: Literal["table", "json"] = "table",
) -> int:
    """Measure how fast the hot paths are on this machine, each beside a peer or its floor.

    Both sides run in turn. Figures are CPU time, the minimum of several runs; a ratio below 1 is \
faster than the peer.

    Parameters
    ----------
    only
        Rows to measure; all but ray if not given.
    full
        Measure ray too, which starts a cluster on this machine, and every step of tuning instead \
of the first 25; this takes much longer.
    threads
        Threads to compute with.
    runs
        Runs of each side.
    format
        Format of the output.
    """
    import os
    import tempfile
    from pathlib import Path

    from synood.errors import InputError

    if threads < 1 or runs < 1:
        raise InputError("bench: --threads and --runs must be at least 1")
    # before numpy and torch are imported, and for the processes that are started
    os.environ.update(OMP_NUM_THREADS=str(threads), SYNOOD_CACHE_SIZE="0")
    import torch

    from synood.benchmark.speed.rows import chosen
    from synood.benchmark.speed.timing import Timed, load

    torch.set_num_threads(threads)
    before, found = load(), list[Timed]()
    for name, measure in chosen(only, full=full).items():
        tell(f"bench: {name}")
        with tempfile.TemporaryDirectory() as folder:
            found += measure(Path(folder), runs)
    after = load()
    if format == "json":
        rows = [one.to_json() for one in found]
        record = {"threads": threads, "runs": runs, "load": [before, after], "rows": rows}
        deliver_data(json.dumps(record, indent=2) + "\n")
        return DONE
    deliver(table_text([*_cells(found)]))
    if before is not None:
        deliver(f"{threads} thread(s), load {before:.1f} before and {after:.1f} after\n")
    return DONE


def _cells(found: Sequence[Timed]) -> Iterator[list[str]]:
    yield ["row", "what", "CPU ms", "beside", "CPU ms", "ratio"]
    for one in found:
        ratios = {name: one.ratio(name) for name in one.peers}
        others = [
            (name, f"{one.peers[name]:.1f}", "-" if ratio is None else f"{ratio:.2f}")
            for name, ratio in ratios.items()
        ]
        others += [(f"{name} (not installed)", "-", "-") for name in one.missing]
        ours = "-" if one.ours is None else f"{one.ours:.1f}"
        for place, other in enumerate(others or [("-", "-", "-")]):
            yield [*(["", "", ""] if place else [one.row, one.what, ours]), *other]
