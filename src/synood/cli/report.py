"""`synood report`: a page, or tables, from results that are there already."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - the command line reads the annotations
from typing import Literal

from synood.cli.console import deliver, deliver_data
from synood.cli.options import Overwrite  # noqa: TC001
from synood.errors import InputError
from synood.files import readable


def report(
    results: Path,
    /,
    *,
    out: Path | None = None,
    overwrite: Overwrite = False,
    format: Literal["html", "md", "tex", "text"] = "html",
) -> None:
    """Render results as an HTML page or as tables; nothing is measured.

    Parameters
    ----------
    results
        A results file, as `synood evaluate` writes, or a directory with one: a run that was \
evaluated, a demo or an experiment.
    out
        File to write; if not given, HTML is written beside the results, tables are printed.
    format
        "html" (one self-contained page), or tables as "md", "tex" (booktabs) or "text".
    """
    from synood.benchmark.report.page import load_report
    from synood.benchmark.report.report import write_report
    from synood.benchmark.report.writing import all_tables
    from synood.benchmark.results.results import read_results
    from synood.cli.outputs import check_output_file

    file = _in_directory(results) if results.is_dir() else results
    if format != "html":
        if out is not None:
            check_output_file(out, overwrite, (file,))
        return deliver_data(all_tables(read_results(file), format), out)
    page = out or _default_page(file)
    check_output_file(page, overwrite or (out is None and _is_report(page)), (file,))
    write_report(page, load_report(file))
    return deliver(f"{page}\n")


def _in_directory(directory: Path) -> Path:
    """Return the results in a directory: results.json, else what `evaluate` wrote in a run.

    Of several benchmarks, one must be named.
    """
    whole, own = directory / "results.json", directory / "evaluation.json"
    measured = sorted(directory.glob("results-*.json"))
    found = [path for path in (whole, own) if path.is_file()] or measured
    if len(found) > 1 and not whole.is_file() and not own.is_file():
        names = ", ".join(path.name for path in found)
        raise InputError(
            f"{readable(directory)}: holds the results of several evaluations, {names}; name one"
        )
    return found[0] if found else whole


def _default_page(file: Path) -> Path:
    """Return where the page of a results file goes: report.html for results.json, else by name."""
    return file.with_name("report.html" if file.name == "results.json" else f"{file.stem}.html")


def _is_report(page: Path) -> bool:
    """Whether an earlier `synood report` or demo made the page, so that it can be made again."""
    return page.is_file() and b"<title>SynOOD report" in page.read_bytes()[:4096]
