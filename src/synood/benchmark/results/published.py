"""Published results of other papers, kept apart from measured ones; each row has its source.

`data/published.tsv` has percentages as printed. A row may lack one of the two metrics.
"""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal, get_args

from synood.benchmark.suites.catalog import BENCHMARKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from synood.benchmark.results.results import MethodKind
    from synood.benchmark.results.tables import Column

Convention = Literal["id-positive", "ood-positive", "not stated"]


NOT_BUILT: Mapping[str, tuple[str, MethodKind]] = {
    "clipscope": ("CLIPScope", "inductive"),
    "cover": ("CoVer", "inductive"),
    "supreme": ("SUPREME", "inductive"),
    "fa": ("FA", "inductive"),
    "coevo": ("CoEvo", "test-time"),
    "ttl": ("TTL", "test-time"),
}
"""Systems with published figures and no row of their own: title and kind."""

AS_RELEASED = {
    "neglabel": "neglabel-released",
    "adaneg": "adaneg-released",
    "tanl": "tanl-released",
}
"""System -> the row that runs what its authors' code does, whose figures the published ones are."""


@dataclass(frozen=True)
class Published:
    """One published result, fractions in [0, 1].

    `ood_set` is a set's name in the catalog or a column of averages ("average:near").
    `convention` is which FPR95 is meant: `id-positive` is `fpr95` of `results.json`,
    `ood-positive` is `fpr95_ood_positive`.
    """

    benchmark: str
    method: str
    ood_set: str
    auroc: float | None
    fpr95: float | None
    convention: Convention
    source: str

    def value(self, metric: str) -> float | None:
        """Return the value of a metric of `results.json`, None if it was not published.

        An FPR95 of unstated convention counts as the paper's, `fpr95`.
        """
        if metric == "auroc":
            return self.auroc
        mine = "fpr95_ood_positive" if self.convention == "ood-positive" else "fpr95"
        return self.fpr95 if metric == mine else None

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return asdict(self)


def published(benchmark: str, methods: Iterable[str] | None = None) -> tuple[Published, ...]:
    """Return the published rows of a benchmark, of all methods or some.

    Rows of single sets of the benchmarks that it shares images with (`Benchmark.figures_of`) are
    among them, except where it has its own. Where `methods` name a row that runs an author's code
    as released, the figures are given to that row.

    >>> row = published("imagenet-4", ["synood"])[-1]
    >>> row.ood_set, row.auroc, row.fpr95
    ('average:all', 0.9701, 0.1427)
    """
    wanted = None if methods is None else set(methods)
    found = [row for row in _all_published() if row.benchmark == benchmark]
    known = BENCHMARKS.get(benchmark)
    sets = {item.name for item in known.sets} if known else set()
    own = {(row.method, row.ood_set) for row in found}
    found += (
        row
        for row in _all_published()
        if known
        and row.benchmark in known.figures_of
        and row.ood_set in sets
        and (row.method, row.ood_set) not in own
    )
    if wanted is None:
        return tuple(found)
    found = [_of_released(row, wanted) for row in found]
    return tuple(row for row in found if row.method in wanted)


def published_alone(benchmark: str) -> tuple[Published, ...]:
    """Return the published rows of a benchmark of systems that are not built here.

    >>> {row.method for row in published_alone("clean")}
    set()
    """
    return published(benchmark, NOT_BUILT)


def _of_released(row: Published, wanted: set[str]) -> Published:
    released = AS_RELEASED.get(row.method)
    return replace(row, method=released) if released in wanted else row


def published_cell(
    rows: Iterable[Published], method: str, column: Column, metric: str
) -> float | None:
    """Return a published value for a column: as printed, else the mean over all its sets."""
    found: Mapping[str, float | None] = {
        row.ood_set: row.value(metric) for row in rows if row.method == method
    }
    if found.get(column.key) is not None:
        return found[column.key]
    values = [found.get(name) for name in column.sets]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def sources(others: Iterable[Published], titles: Mapping[str, str]) -> list[str]:
    """Return the source of each method's published results, each source once."""
    found: dict[str, None] = {}
    for row in others:
        stated = "" if row.convention != "not stated" else " (which FPR95 is not stated)"
        title = titles.get(row.method) or NOT_BUILT.get(row.method, (row.method,))[0]
        found[f"{title}: {row.source}{stated}"] = None
    return list(found)


@cache
def _all_published() -> tuple[Published, ...]:
    file = resources.files("synood.benchmark.results").joinpath("data", "published.tsv")
    lines = file.read_text(encoding="utf-8").splitlines()
    table = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    return tuple(_row(row) for row in table)


def _row(row: Mapping[str, str]) -> Published:
    convention = next(known for known in get_args(Convention) if known == row["convention"])
    return Published(
        row["benchmark"],
        row["method"],
        row["ood_set"],
        _fraction(row["auroc"]),
        _fraction(row["fpr95"]),
        convention,
        row["source"],
    )


def _fraction(percent: str) -> float | None:
    return round(float(percent) / 100, 6) if percent else None
