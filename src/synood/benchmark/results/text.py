"""Tables as plain text: measured results, with what their papers printed below each method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.benchmark.results.published import published, sources
from synood.benchmark.results.tables import (
    HEADINGS,
    TEST_TIME,
    groups,
    methods,
    shown_columns,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synood.benchmark.results.published import Published
    from synood.benchmark.results.results import Results, Row
    from synood.benchmark.results.tables import Column

SHOWN = ("auroc", "fpr95")
LEGEND = "* is the best of a column."


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Return rows of cells as lines with aligned columns; the first `left` are flush left.

    >>> aligned([("", "n"), ("train", "10"), ("test", "5")])
    ['        n', 'train  10', 'test    5']
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def text_table(
    rows: Sequence[Row],
    titles: Mapping[str, str] | None = None,
    others: Sequence[Published] = (),
    metrics: Sequence[str] = SHOWN,
) -> str:
    """Return a block of plain text per metric, in percent; the best of a column is marked with *.

    `titles` are the printed names of the methods. Test-time methods have blocks of their own.
    `others` are published figures: a line under their method's own, a dash for an unknown figure.
    """
    return "\n\n".join(_block(rows, metric, titles or {}, others) for metric in metrics)


def table_with_published(results: Results, benchmark: str, titles: Mapping[str, str]) -> str:
    """Return measured and published figures of a benchmark, with the sources of the latter."""
    others = published(benchmark, methods(results.rows))
    table = text_table(results.rows, titles, others, (*SHOWN, "fpr95_ood_positive"))
    return "\n\n".join([table, *source_lines(others, titles)])


def source_lines(others: Sequence[Published], titles: Mapping[str, str]) -> list[str]:
    """Return the sources of published figures as one block of text, or nothing without any."""
    lines = [f"  {line}" for line in sources(others, titles)]
    heading = "Published figures, of CLIP ViT-B/16, not measured here:"
    return ["\n".join([heading, *lines])] if lines else []


def _block(
    rows: Sequence[Row], metric: str, titles: Mapping[str, str], others: Sequence[Published]
) -> str:
    blocks, layout = [], shown_columns(rows)
    for group in groups(rows, metric, titles, others):
        lines = [
            [
                f"  {line.title}" if line.published else line.title,
                *(
                    text + ("*" if first else " ")
                    for text, first in zip(line.texts, line.best, strict=True)
                ),
            ]
            for line in group.lines
        ]
        kind = "" if group.kind == "inductive" else f", {TEST_TIME}"
        note = [group.note] if group.note else []
        table = aligned([*_heading_lines(layout), *lines])
        blocks.append("\n".join([HEADINGS[metric].text() + kind, *table, *note]))
    return "\n\n".join(blocks)


def _heading_lines(layout: Sequence[Column]) -> list[list[str]]:
    """Break the titles at spaces into lines, the last of which stands above the figures."""
    words = [column.title.split() for column in layout]
    height = max(len(title) for title in words)
    padded = [[""] * (height - len(title)) + title for title in words]
    return [["", *(title[i] for title in padded)] for i in range(height)]
