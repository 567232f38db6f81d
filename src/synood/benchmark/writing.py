"""Tables for papers and pages: Markdown and LaTeX, from the same estimates as the text tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.benchmark import tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synood.benchmark.published import Published
    from synood.benchmark.results import Row

HEADINGS = {
    "auroc": "AUROC, % (higher is better)",
    "fpr95": "FPR95, % of OOD accepted when 95 % of in-distribution is kept (lower is better)",
    "fpr95_ood_positive": "FPR95, % of in-distribution rejected when 95 % of OOD is caught",
}
_SPECIAL = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}",
            "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
            "\\": r"\textbackslash{}"}  # fmt: skip


def markdown(
    rows: Sequence[Row], titles: Mapping[str, str], metric: str, others: Sequence[Published] = ()
) -> str:
    """Return one metric as Markdown tables; the best of each column is bold.

    Test-time methods have a table of their own; `others` are published figures.
    """
    head = ["", *(column.title for column in tables.shown_columns(rows))]
    parts = []
    for group in tables.groups(rows, metric, titles, others):
        lines = [[line.title, *_marked(line, "**{}**")] for line in group.lines]
        whole = [head, ["---", *("---:" for _ in head[1:])], *lines]
        body = "".join("| " + " | ".join(map(_escaped, line)) + " |\n" for line in whole)
        kind = "" if group.kind == "inductive" else f", {tables.TEST_TIME}"
        parts.append(f"{HEADINGS[metric]}{kind}\n\n{body}")
        parts += [f"{group.note}\n"] if group.note else []
    return "\n".join(parts)


def latex(
    rows: Sequence[Row], titles: Mapping[str, str], metric: str, others: Sequence[Published] = ()
) -> str:
    """Return one metric as a LaTeX `tabular` (package booktabs); the best of each column is bold.

    Test-time methods stand under a rule and a heading of their own.

    >>> tex("50 % of A_B")
    '50 \\\\% of A\\\\_B'
    """
    head = ["", *(tex(column.title) for column in tables.shown_columns(rows))]
    body = [r"\toprule", _tex_line(head)]
    for group in tables.groups(rows, metric, titles, others):
        body.append(r"\midrule")
        if group.kind != "inductive":
            heading = tex(tables.TEST_TIME.capitalize())
            body.append(rf"\multicolumn{{{len(head)}}}{{l}}{{\emph{{{heading}}}}} \\")
        body += [
            _tex_line([tex(line.title), *_marked(line, r"\textbf{{{}}}")]) for line in group.lines
        ]
        body += [f"% {group.note}"] if group.note else []
    columns = "l" + "r" * (len(head) - 1)
    return "\n".join(
        [
            f"% {HEADINGS[metric]}",
            rf"\begin{{tabular}}{{{columns}}}",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def tex(text: str) -> str:
    """Write any text so that LaTeX prints it as it is."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def _marked(line: tables.Line, bold: str) -> list[str]:
    marks = zip(line.texts, line.best, strict=True)
    return [bold.format(text) if first else text for text, first in marks]


def _tex_line(cells: Sequence[str]) -> str:
    first, *figures = cells
    shown = [figure.replace(" ±", r" $\pm$ ") for figure in figures]
    return " & ".join([first, *shown]) + r" \\"


def _escaped(cell: str) -> str:
    return cell.replace("|", r"\|")
