"""Tables of results: means and intervals over seeds, averages over OOD sets, lines in percent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

from synood.benchmark.results.published import NOT_BUILT, published_cell
from synood.benchmark.results.results import LOWER_IS_BETTER, MethodKind
from synood.benchmark.suites.catalog import BENCHMARKS
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from synood.benchmark.results.published import Published
    from synood.benchmark.results.results import Row

TEST_TIME = "test-time methods, which learn from the test images as they come"


@dataclass(frozen=True)
class Heading:
    """The heading of a metric wherever it is printed: its name, its meaning, what is better."""

    title: str
    meaning: str
    better: str

    @property
    def in_percent(self) -> str:
        """The name and the unit of a table in percent."""
        return f"{self.title}, %"

    def text(self) -> str:
        """Return the heading of a table in percent.

        >>> HEADINGS["auroc"].text()
        'AUROC, % (higher is better)'
        """
        return f"{self.in_percent} {self.meaning}".rstrip() + f" ({self.better} is better)"


HEADINGS = {
    "auroc": Heading("AUROC", "", "higher"),
    "fpr95": Heading("FPR95", "of OOD accepted when 95 % of in-distribution is kept", "lower"),
    "fpr95_ood_positive": Heading(
        "FPR95 with OOD positive",
        "of in-distribution rejected when 95 % of OOD is caught",
        "lower",
    ),
    "aupr_in": Heading("AUPR-in", "with in-distribution as the positive class", "higher"),
    "aupr_out": Heading("AUPR-out", "with OOD as the positive class", "higher"),
}
AVERAGES = {"all": "average", "near": "near avg.", "far": "far avg."}

# Two-sided 95 % quantiles of Student's t for 1 to 30 degrees of freedom, for few seeds
_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and the half-width of its 95 % interval; None for one seed."""

    mean: float
    half_width: float | None
    seeds: int

    def percent(self) -> str:
        """Return for example `84.1 ±0.6`, or `84.1` for one seed."""
        if self.half_width is None:
            return f"{100 * self.mean:.1f}"
        return f"{100 * self.mean:.1f} ±{100 * self.half_width:.1f}"


@dataclass(frozen=True)
class Column:
    """One column of a table: an OOD set, or the average over the sets of a group (or all)."""

    key: str
    title: str
    group: str
    sets: tuple[str, ...]

    @property
    def is_average(self) -> bool:
        """Whether the column averages over sets."""
        return self.key.startswith("average:")


def estimate(values: Sequence[float]) -> Estimate:
    """Mean of per-seed values and Student's 95 % interval of that mean (None for one seed)."""
    if not values:
        raise InputError("an estimate needs at least one seed")
    count, mean = len(values), float(np.mean(values))
    if count == 1:
        return Estimate(mean, None, 1)
    quantile = _T95[count - 2] if count - 2 < len(_T95) else 1.96
    return Estimate(mean, quantile * float(np.std(values, ddof=1)) / math.sqrt(count), count)


def columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    """The averages over all, near and far sets, then the near sets, then the far sets.

    Sets are in the order of the rows; a group without sets has no average.
    """
    groups: dict[str, list[str]] = {"near": [], "far": []}
    for row in rows:
        if row.ood_set not in groups[row.group]:
            groups[row.group].append(row.ood_set)
    spans = {"all": groups["near"] + groups["far"], **groups}
    averages = [
        Column(f"average:{group}", AVERAGES[group], group, tuple(names))
        for group, names in spans.items()
        if names
    ]
    sets = [
        Column(name, title_of(name), group, (name,))
        for group, names in groups.items()
        for name in names
    ]
    return (*averages, *sets)


def title_of(name: str) -> str:
    """Return the printed name of an OOD set; names of published sets are kept.

    >>> title_of("empty-scenes")
    'empty scenes'
    """
    known = any(name == item.name for found in BENCHMARKS.values() for item in found.sets)
    return name if known else name.replace("_", " ").replace("-", " ")


def methods(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the methods in the order of the rows."""
    return tuple(dict.fromkeys(row.method for row in rows))


def aggregate(rows: Sequence[Row], method: str, column: Column, metric: str) -> Estimate:
    """Average over the column's sets within each seed, then mean and interval over the seeds.

    A seed that lacks one of the sets is an `InputError` with the method, seed and set: its average
    would be over other sets than those of the other seeds.
    """
    by_seed: dict[int, dict[str, float]] = {}
    for row in rows:
        if row.method == method:
            by_seed.setdefault(row.seed, {})[row.ood_set] = row.value(metric)
    for seed, values in sorted(by_seed.items()):
        for name in column.sets:
            if name not in values:
                raise InputError(f"results: {method} under seed {seed} lacks the OOD set {name!r}")
    means = [
        float(np.mean([values[name] for name in column.sets]))
        for _, values in sorted(by_seed.items())
    ]
    return estimate(means)


def table(rows: Sequence[Row], metric: str) -> dict[str, dict[str, Estimate]]:
    """Method -> column key -> estimate of `metric`, for every method and column of the rows."""
    layout = columns(rows)
    return {
        method: {column.key: aggregate(rows, method, column, metric) for column in layout}
        for method in methods(rows)
    }


def best(cells: Mapping[str, Mapping[str, Estimate]], metric: str) -> dict[str, frozenset[str]]:
    """Column key -> the methods with the best printed mean (percent, one digit) of the column.

    A method alone is the best of nothing.
    """
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    keys = list(next(iter(cells.values()))) if cells else []
    winners = {}
    for key in keys:
        shown = {method: sign * round(100 * row[key].mean, 1) for method, row in cells.items()}
        top = max(shown.values())
        first = (method for method, value in shown.items() if value == top and len(cells) > 1)
        winners[key] = frozenset(first)
    return winners


@dataclass(frozen=True)
class Line:
    """One printed line: a title and a text per column; `best` marks the best of a column.

    A published line has what its authors printed, and is never marked as best.
    """

    method: str
    title: str
    texts: tuple[str, ...]
    best: tuple[bool, ...]
    published: bool = False


@dataclass(frozen=True)
class MethodGroup:
    """The lines of one kind of methods, which are compared among themselves, and a note."""

    kind: MethodKind
    lines: tuple[Line, ...]
    note: str = ""


def shown_columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    """Return the columns; a group's average is left out if it has one set, or is the only group."""
    everything, *others = columns(rows)

    def says_more(column: Column) -> bool:
        return len(column.sets) > 1 and column.sets != everything.sets

    return (everything, *(c for c in others if not c.is_average or says_more(c)))


def groups(
    rows: Sequence[Row],
    metric: str,
    titles: Mapping[str, str],
    others: Sequence[Published] = (),
) -> tuple[MethodGroup, ...]:
    """Return the lines of a metric in percent, inductive and test-time methods separately.

    `others` are published results: a line below their method's own, and at the end the lines of
    systems that are not built here.
    """
    layout, found = shown_columns(rows), []
    for kind in get_args(MethodKind):
        own = [row for row in rows if row.kind == kind]
        if own:
            cells = table(own, metric)
            winners = best(cells, metric)
            lines = [
                line
                for method in cells
                for line in _lines(method, titles.get(method, method), cells, winners, layout)
                + _published(method, titles.get(method, method), others, metric, layout)
            ]
            lines += _not_built(kind, cells, others, metric, layout)
            found.append(MethodGroup(kind, tuple(lines), stream_note(own)))
    return tuple(found)


def stream_note(rows: Sequence[Row]) -> str:
    """Return the order in which test-time methods saw the test images; empty without streams."""
    streams = [row.stream for row in rows if row.stream]
    if not streams:
        return ""
    orders = sorted({str(stream.get("order", "unknown")) for stream in streams})
    seeds = sorted({int(stream["seed"]) for stream in streams if "seed" in stream})
    return (
        "They see the test images as a stream, one for each OOD set: order "
        f"{' and '.join(orders)}, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}."
    )


def _lines(
    method: str,
    title: str,
    cells: Mapping[str, Mapping[str, Estimate]],
    winners: Mapping[str, frozenset[str]],
    layout: Sequence[Column],
) -> list[Line]:
    texts = tuple(cells[method][column.key].percent() for column in layout)
    return [Line(method, title, texts, tuple(method in winners[c.key] for c in layout))]


def _not_built(
    kind: MethodKind,
    measured: Container[str],
    others: Sequence[Published],
    metric: str,
    layout: Sequence[Column],
) -> list[Line]:
    return [
        line
        for method, (title, its_kind) in NOT_BUILT.items()
        if its_kind == kind and method not in measured
        for line in _published(method, title, others, metric, layout)
    ]


def _published(
    method: str, title: str, others: Sequence[Published], metric: str, layout: Sequence[Column]
) -> list[Line]:
    figures = [published_cell(others, method, column, metric) for column in layout]
    if all(figure is None for figure in figures):
        return []
    texts = tuple("-" if figure is None else f"{100 * figure:.2f}" for figure in figures)
    return [Line(method, f"{title}, published", texts, (False,) * len(layout), published=True)]
