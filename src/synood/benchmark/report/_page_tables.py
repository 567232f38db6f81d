"""The tables of the page: per metric the column headings, and lines grouped by kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from synood.benchmark.report.summary import OURS, PLUS
from synood.benchmark.results import tables
from synood.benchmark.results.results import MethodKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.benchmark.protocol.methods import Method
    from synood.benchmark.results.published import Published
    from synood.benchmark.results.results import Row

METRICS = ("auroc", "fpr95")
MORE = ("fpr95_ood_positive", "aupr_in", "aupr_out")
CONTROLS = "Controls: the same tuning on other images"


@dataclass(frozen=True)
class Cell:
    """One number; `spread` is its interval over seeds, empty for one seed."""

    text: str
    spread: str
    best: bool


@dataclass(frozen=True)
class ShownLine:
    """One row of a table."""

    title: str
    cells: tuple[Cell, ...]
    ours: bool
    published: bool


@dataclass(frozen=True)
class Section:
    """Rows under a heading, which may be empty."""

    heading: str
    lines: tuple[ShownLine, ...]


@dataclass(frozen=True)
class Block:
    """The table of one metric."""

    name: str
    direction: str
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Heads:
    """The columns of a table, the headings that span them, and the CSS classes of each column."""

    layout: tuple[tables.Column, ...]
    spans: tuple[tuple[str, int], ...]
    classes: tuple[str, ...]


def heads_of(layout: Sequence[tables.Column]) -> Heads:
    """Return the headings and their spans; CSS classes mark averages and the start of a span."""
    names = ["Average" if c.is_average else f"{c.group.capitalize()} OOD" for c in layout]
    spans = tuple((name, names.count(name)) for name in dict.fromkeys(names))
    classes = tuple(
        " ".join(["average"] * c.is_average + ["first"] * (names.index(names[i]) == i))
        for i, c in enumerate(layout)
    )
    return Heads(tuple(layout), spans, classes)


def blocks(
    rows: Sequence[Row],
    methods: Sequence[Method],
    others: Sequence[Published],
    metrics: Sequence[str],
) -> list[Block]:
    """Return a table for each of `metrics`: inductive methods, controls, test-time methods."""
    titles = {method.name: method.title for method in methods}
    controls = {method.name for method in methods if method.is_control}
    found = []
    for metric in metrics:
        sections = [
            section
            for group in tables.groups(rows, metric, titles, others)
            for section in _sections(group, controls)
        ]
        heading = tables.HEADINGS[metric]
        direction = "; ".join(filter(None, [heading.meaning, f"{heading.better} is better"]))
        found.append(Block(heading.in_percent, direction, tuple(sections)))
    return found


def interval_blocks(
    rows: Sequence[Row], methods: Sequence[Method], layout: Sequence[tables.Column]
) -> list[Block]:
    """Return the intervals of AUROC and FPR95 over test images for the sets of `layout`.

    The limits are averaged over the seeds of a method.
    """
    found = []
    for metric in METRICS:
        sections = []
        for kind in get_args(MethodKind):
            lines = [
                _interval_line(method, rows, layout, metric)
                for method in methods
                if method.kind == kind
            ]
            heading = "" if kind == "inductive" else "Test-time methods"
            sections += [Section(heading, tuple(lines))] if lines else []
        direction = "from – to, over test images (95 %, bootstrap)"
        found.append(Block(tables.HEADINGS[metric].in_percent, direction, tuple(sections)))
    return found


def _interval_line(
    method: Method, rows: Sequence[Row], layout: Sequence[tables.Column], metric: str
) -> ShownLine:
    cells = []
    for column in layout:
        ends = [
            row.ci95[metric]
            for row in rows
            if row.method == method.name and row.ood_set == column.key
        ]
        low, high = (100 * sum(side) / len(ends) for side in zip(*ends, strict=True))
        cells.append(Cell(f"{low:.1f}–{high:.1f}", "", best=False))
    return ShownLine(method.title, tuple(cells), method.name in (OURS, PLUS), published=False)


def _sections(group: tables.MethodGroup, controls: set[str]) -> list[Section]:
    if group.kind != "inductive":
        kind = tables.TEST_TIME[0].upper() + tables.TEST_TIME[1:]
        heading = f"{kind}. {group.note}".rstrip()
        return [Section(heading, tuple(map(_line, group.lines)))]
    plain = [_line(line) for line in group.lines if line.method not in controls]
    other = [_line(line) for line in group.lines if line.method in controls]
    sections = [Section("", tuple(plain)), Section(CONTROLS, tuple(other))]
    return [section for section in sections if section.lines]


def _line(line: tables.Line) -> ShownLine:
    cells = []
    for text, best in zip(line.texts, line.best, strict=True):
        figure, _, spread = text.partition(" ±")
        cells.append(Cell("–" if figure == "-" else figure, f"±{spread}" if spread else "", best))
    ours = line.method in (OURS, PLUS) and not line.published
    return ShownLine(line.title, tuple(cells), ours, line.published)
