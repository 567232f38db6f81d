"""The table of an evaluation: measured rows, and under each method what its paper printed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from synood.benchmark import tables
from synood.benchmark.catalog import find_benchmark
from synood.benchmark.published import published, published_cell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synood.benchmark.published import Published
    from synood.benchmark.results import Results, Row

_BLOCKS = {
    "auroc": "AUROC, % (higher is better)",
    "fpr95": "FPR95, % of OOD accepted when 95 % of in-distribution is kept (lower is better)",
    "fpr95_ood_positive": (
        "FPR95, % of in-distribution rejected when 95 % of OOD is caught (OpenOOD's; lower is "
        "better)"
    ),
}


def table_beside(results: Results, benchmark: str, titles: Mapping[str, str]) -> str:
    """Return measured and published figures as plain text, a block per metric, with sources.

    A published line stands under its method's measured one and says that it is published; a
    figure that was not found is a dash. OpenOOD's FPR95 has a block only on a benchmark for which
    such figures were published.
    """
    others = published(benchmark, tables.methods(results.rows))
    shown = [metric for metric in _BLOCKS if metric != "fpr95_ood_positive" or _has(others, metric)]
    layout = _columns(results.rows, benchmark)
    blocks = [_block(results.rows, layout, others, metric, titles) for metric in shown]
    return "\n\n".join([*blocks, *_sources(others, titles)])


def _has(others: Sequence[Published], metric: str) -> bool:
    return any(row.value(metric) is not None for row in others)


def _block(
    rows: Sequence[Row],
    layout: Sequence[tables.Column],
    others: Sequence[Published],
    metric: str,
    titles: Mapping[str, str],
) -> str:
    cells = tables.table(rows, metric)
    winners = tables.best(cells, metric)
    lines = []
    for method, row in cells.items():
        title = titles.get(method, method)
        marks = ["*" if method in winners[column.key] else " " for column in layout]
        shown = [row[column.key].percent() for column in layout]
        lines.append([title, *(text + mark for text, mark in zip(shown, marks, strict=True))])
        figures = [published_cell(others, method, column, metric) for column in layout]
        if any(figure is not None for figure in figures):
            texts = ["- " if figure is None else f"{100 * figure:.2f} " for figure in figures]
            lines.append([f"  {title}, published", *texts])
    return tables.aligned(_BLOCKS[metric], layout, lines)


def _columns(rows: Sequence[Row], benchmark: str) -> list[tables.Column]:
    """Return the columns, without a group's average where the group is all there is.

    Published sets are titled by their own names.
    """
    everything, *others = tables.columns(rows)
    kept = [column for column in others if not column.is_average or column.sets != everything.sets]
    known = {item.name for item in find_benchmark(benchmark).sets}
    return [everything, *(replace(c, title=c.key) if c.key in known else c for c in kept)]


def _sources(others: Sequence[Published], titles: Mapping[str, str]) -> list[str]:
    if not others:
        return []
    found: dict[str, None] = {}
    for row in others:
        stated = "" if row.convention != "not stated" else " (which FPR95 is not stated)"
        found[f"  {titles.get(row.method, row.method)}: {row.source}{stated}"] = None
    return ["\n".join(["Published figures, of CLIP ViT-B/16, not measured here:", *found])]
