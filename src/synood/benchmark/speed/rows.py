"""The rows of `synood bench`, by name: each measures one path on data that it makes itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from synood.benchmark.speed.arrays import metrics, mining, score, text
from synood.benchmark.speed.executors import ray
from synood.benchmark.speed.images import cache, decode, encode, folder, imglist, selection, start
from synood.benchmark.speed.painting import guided
from synood.benchmark.speed.serving import serve
from synood.benchmark.speed.timing import Timed
from synood.benchmark.speed.tuning import tuning, tuning_in_full

if TYPE_CHECKING:
    from collections.abc import Sequence

Measure: TypeAlias = Callable[[Path, int], list[Timed]]
"""What measures a row: an empty folder to work in and the number of runs in, the row out."""

ROWS: dict[str, Measure] = {
    "start": start,
    "decode": decode,
    "encode": encode,
    "folder": folder,
    "cache": cache,
    "score": score,
    "mining": mining,
    "text": text,
    "selection": selection,
    "imglist": imglist,
    "metrics": metrics,
    "tuning": tuning,
    "guided": guided,
    "serve": serve,
    "ray": ray,
}
LONG = {"ray"}
"""Measured where they are asked for: it starts a cluster, anew for each run."""
IN_FULL: dict[str, Measure] = {"tuning": tuning_in_full}


def chosen(only: Sequence[str] = (), *, full: bool = False) -> dict[str, Measure]:
    """Return the rows to measure: `only` these, or all but the long ones; `full`: all of each."""
    rows = ROWS | IN_FULL if full else ROWS
    names = only or [name for name in rows if full or name not in LONG]
    return {name: rows[name] for name in names}
