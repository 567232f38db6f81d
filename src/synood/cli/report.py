"""`synood report`: a page, or tables, from results that are there already."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - the command line reads the annotations
from typing import Literal

from synood.cli.console import deliver


def report(
    results: Path,
    /,
    *,
    out: Path | None = None,
    format: Literal["html", "md", "tex", "text"] = "html",
) -> None:
    """Render results as an HTML page or as tables; nothing is measured.

    Parameters
    ----------
    results
        A results file, or a directory with results.json (of a demo or experiment).
    out
        File to write; if not given, HTML is written beside the results, tables are printed.
    format
        "html" (one self-contained page), or tables as "md", "tex" (booktabs) or "text".
    """
    from synood.benchmark.report.page import load_report
    from synood.benchmark.report.report import write_report
    from synood.benchmark.report.writing import whole
    from synood.benchmark.results.results import read_results

    file = results / "results.json" if results.is_dir() else results
    if format == "html":
        page = out or file.parent / "report.html"
        write_report(page, load_report(file))
        deliver(f"{page}\n")
    else:
        deliver(whole(read_results(file), format), out)
