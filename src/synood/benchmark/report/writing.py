"""Tables as Markdown and LaTeX, with the same numbers as the text tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from synood.benchmark.protocol.methods import titles
from synood.benchmark.report.extra_tables import extra_tables_of
from synood.benchmark.report.records import methods_of, published_of
from synood.benchmark.results import tables
from synood.benchmark.results.published import sources
from synood.benchmark.results.text import LEGEND, text_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synood.benchmark.report.extra_tables import ExtraTable
    from synood.benchmark.results.published import Published
    from synood.benchmark.results.results import Results, Row

METRICS = ("auroc", "fpr95", "fpr95_ood_positive")
_SPECIAL = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}",
            "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
            "\\": r"\textbackslash{}"}  # fmt: skip


Form = Literal["md", "tex", "text"]


def all_tables(results: Results, form: Form) -> str:
    """Return all tables of a results file in one format, under its title if it has one.

    Published results in the file are below their methods' lines, with their sources.
    """
    named, others = titles(methods_of(results)), published_of(results)
    if not results.rows:
        return str(results.run.get("table") or "") + "\n"
    title, extra_tables = str(results.run.get("title") or ""), extra_tables_of(results)
    cited = [f"Published figures: {source}." for source in sources(others, named)]
    if form == "text":
        blocks = [text_table(results.rows, named, others, METRICS), *[LEGEND] * (len(named) > 1)]
        blocks += [sheet.text() for sheet in extra_tables]
        return "\n\n".join([*([title] if title else []), *blocks, *cited]) + "\n"
    if form == "md":
        blocks = [markdown(results.rows, named, metric, others) for metric in METRICS]
        blocks += [_sheet_markdown(sheet) for sheet in extra_tables]
        cited = [f"- {line}" for line in cited]
        return "\n".join([*([f"# {title}\n"] if title else []), *blocks, *cited])
    blocks = [latex(results.rows, named, metric, others) for metric in METRICS]
    blocks += [_sheet_latex(sheet) for sheet in extra_tables]
    return "\n".join([*blocks, *(f"% {line}" for line in cited)])


def markdown(
    rows: Sequence[Row], named: Mapping[str, str], metric: str, others: Sequence[Published] = ()
) -> str:
    """Return one metric as Markdown tables; the best of each column is bold.

    Test-time methods have a separate table; `others` are published results.
    """
    head = ["", *(column.title for column in tables.shown_columns(rows))]
    parts = []
    for group in tables.groups(rows, metric, named, others):
        lines = [[line.title, *_marked(line, "**{}**")] for line in group.lines]
        body = _markdown_lines(head, lines)
        kind = "" if group.kind == "inductive" else f", {tables.TEST_TIME}"
        parts.append(f"{tables.HEADINGS[metric].text()}{kind}\n\n{body}")
        parts += [f"{group.note}\n"] if group.note else []
    return "\n".join(parts)


def _markdown_lines(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---", *("---:" for _ in head[1:])], *lines]
    return "".join("| " + " | ".join(map(_escaped, line)) + " |\n" for line in rows)


def _sheet_markdown(sheet: ExtraTable) -> str:
    return f"{sheet.title}\n\n{_markdown_lines(sheet.head, sheet.lines)}"


def latex(
    rows: Sequence[Row], named: Mapping[str, str], metric: str, others: Sequence[Published] = ()
) -> str:
    """Return one metric as a LaTeX `tabular` (package booktabs); the best of each column is bold.

    Test-time methods are below a rule, with a heading.

    >>> tex("50 % of A_B")
    '50 \\\\% of A\\\\_B'
    """
    head = ["", *(tex(column.title) for column in tables.shown_columns(rows))]
    body = [r"\toprule", _tex_line(head)]
    for group in tables.groups(rows, metric, named, others):
        body.append(r"\midrule")
        if group.kind != "inductive":
            heading = tex(tables.TEST_TIME.capitalize())
            body.append(rf"\multicolumn{{{len(head)}}}{{l}}{{\emph{{{heading}}}}} \\")
        body += [
            _tex_line([tex(line.title), *_marked(line, r"\textbf{{{}}}")]) for line in group.lines
        ]
        body += [f"% {group.note}"] if group.note else []
    columns = "l" + "r" * (len(head) - 1)
    return _tabular(tables.HEADINGS[metric].text(), columns, body)


def _sheet_latex(sheet: ExtraTable) -> str:
    lines = [_tex_line([tex(cell) for cell in line]) for line in (sheet.head, *sheet.lines)]
    body = [r"\toprule", lines[0], r"\midrule", *lines[1:]]
    return _tabular(sheet.title, "l" + "r" * (len(sheet.head) - 1), body)


def _tabular(heading: str, columns: str, body: Sequence[str]) -> str:
    return "\n".join(
        [
            f"% {heading}",
            rf"\begin{{tabular}}{{{columns}}}",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def tex(text: str) -> str:
    """Escape text for LaTeX."""
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
