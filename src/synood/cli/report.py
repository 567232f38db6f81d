"""`synood report`: a page, or tables, from results that are there already."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - the command line reads the annotations
from typing import Literal


def report(
    results: Path,
    /,
    *,
    out: Path | None = None,
    format: Literal["html", "md", "tex", "text"] = "html",
) -> int:
    """Make the page or the tables of a run, an experiment or a results file; nothing is measured.

    Parameters
    ----------
    results
        A results.json, or the directory that holds one: of a demo, of an experiment, or of
        `synood evaluate --out`. Charts and pictures beside it are shown as well.
    out
        File to write; "html" without it is report.html beside the results, the others are printed.
    format
        "html", one page that needs nothing else; "md", "tex" (booktabs) or "text", the tables.
    """
    from synood.benchmark.report.page import load_report
    from synood.benchmark.report.report import write_report
    from synood.benchmark.report.writing import whole
    from synood.benchmark.results.results import read_results
    from synood.cli.console import deliver

    file = results / "results.json" if results.is_dir() else results
    if format == "html":
        page = out or file.parent / "report.html"
        write_report(page, load_report(file))
        deliver(f"{page}\n")
    else:
        deliver(whole(read_results(file), format), out)
    return 0
