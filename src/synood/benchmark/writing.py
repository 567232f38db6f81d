"""Tables for papers and pages: Markdown and LaTeX, from the same estimates as the text tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.benchmark import tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synood.benchmark.results import Row

HEADINGS = {
    "auroc": "AUROC, % (higher is better)",
    "fpr95": "FPR95, % of OOD accepted when 95 % of in-distribution is kept (lower is better)",
    "fpr95_ood_positive": "FPR95, % of in-distribution rejected when 95 % of OOD is caught",
}
_SPECIAL = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}",
            "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
            "\\": r"\textbackslash{}"}  # fmt: skip


def markdown(rows: Sequence[Row], titles: Mapping[str, str], metric: str) -> str:
    """Return one metric as a Markdown table; the best of each column is bold."""
    layout, lines = _cells(rows, titles, metric, "**{}**")
    head = ["", *(column.title for column in layout)]
    whole = [head, ["---", *("---:" for _ in layout)], *lines]
    body = "".join("| " + " | ".join(map(_escaped, line)) + " |\n" for line in whole)
    return f"{HEADINGS[metric]}\n\n{body}"


def latex(rows: Sequence[Row], titles: Mapping[str, str], metric: str) -> str:
    """Return one metric as a LaTeX `tabular` (package booktabs); the best of each column is bold.

    >>> tex("50 % of A_B")
    '50 \\\\% of A\\\\_B'
    """
    named = {name: tex(title) for name, title in titles.items()}
    layout, lines = _cells(rows, named, metric, r"\textbf{{{}}}")
    head = ["", *(tex(column.title) for column in layout)]
    body = [r"\toprule", _tex_line(head), r"\midrule", *map(_tex_line, lines), r"\bottomrule"]
    columns = "l" + "r" * len(layout)
    return "\n".join(
        [f"% {HEADINGS[metric]}", rf"\begin{{tabular}}{{{columns}}}", *body, r"\end{tabular}", ""]
    )


def tex(text: str) -> str:
    """Write any text so that LaTeX prints it as it is."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def _cells(
    rows: Sequence[Row], titles: Mapping[str, str], metric: str, bold: str
) -> tuple[tuple[tables.Column, ...], list[list[str]]]:
    layout, cells = tables.columns(rows), tables.table(rows, metric)
    winners = tables.best(cells, metric)
    lines = []
    for method, row in cells.items():
        figures = [
            bold.format(row[column.key].percent())
            if method in winners[column.key]
            else row[column.key].percent()
            for column in layout
        ]
        lines.append([titles.get(method, method), *figures])
    return layout, lines


def _tex_line(cells: Sequence[str]) -> str:
    first, *figures = cells
    shown = [figure.replace(" ±", r" $\pm$ ") for figure in figures]
    return " & ".join([first, *shown]) + r" \\"


def _escaped(cell: str) -> str:
    return cell.replace("|", r"\|")
