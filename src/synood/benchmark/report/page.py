"""Reads what a page shows: a finished run with its images, or a results file alone."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from synood.benchmark.protocol.methods import titles
from synood.benchmark.protocol.predictions import SCORES
from synood.benchmark.report._page_own import is_own, own_report
from synood.benchmark.report._page_run import run_report
from synood.benchmark.report.extra_tables import extra_tables_of
from synood.benchmark.report.records import comparisons_of, methods_of
from synood.benchmark.report.report import Figure, Report, ShownPair
from synood.benchmark.report.summary import summarise_comparisons
from synood.benchmark.results.results import read_results
from synood.errors import InputError
from synood.files import read_bounded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from synood.benchmark.results.results import Results

RESULTS = "results.json"
LARGEST_FILE = 2**24  # bytes of a chart or image beside a results file


def load_report(path: Path) -> Report:
    """Read what a page shows, from a results file or a directory with `results.json`.

    A demo has its test scores and images next to the results, an experiment its charts; a results
    file of `evaluate` has all of that in itself; another results file alone gives the tables, the
    comparisons and the record. Raises `InputError` for a file
    that this version does not write.
    """
    file = path / RESULTS if path.is_dir() else path
    results, place = read_results(file), file.parent
    try:
        whole = file.name == RESULTS and "choices" in results.run and "threshold" in results.run
        if whole and (place / SCORES).is_file() and (place / "suite").is_dir():
            return run_report(place, results)
        return (
            own_report(results, file.name) if is_own(results) else _results_report(place, results)
        )
    except (KeyError, TypeError, AttributeError, ValueError, StopIteration) as error:
        raise InputError(
            f"{file}: `run` is not as this version writes it ({type(error).__name__}: {error})"
        ) from None


def _results_report(place: Path, results: Results) -> Report:
    run = results.run
    methods = methods_of(results)
    kinds = {row.method: row.kind for row in results.rows}
    comparisons = tuple(  # none between an inductive method and a test-time one
        item for item in comparisons_of(results) if kinds.get(item.method) == kinds.get(item.other)
    )
    headline = str(run.get("title") or _headline(results, len(methods)))
    return Report(
        results=results,
        methods=methods,
        comparisons=comparisons,
        summary=summarise_comparisons(results.rows, comparisons, titles(methods), headline),
        pairs=_pairs(place, run.get("details", {})),
        facts=_facts(results),
        notes=tuple(str(note) for note in (*run.get("notes", ()), *run.get("remarks", ()))),
        figures=tuple(
            Figure(str(item["file"]), str(item["words"]), _beside(place, item["file"]))
            for item in run.get("shown", ())
        ),
        text="\n\n".join(
            [
                *filter(None, [str(run.get("table") or "")]),
                *(s.text() for s in extra_tables_of(results)),
            ]
        ),
    )


def _headline(results: Results, methods: int) -> str:
    sets = len({row.ood_set for row in results.rows})
    plural = "s" if methods != 1 else "", "s" if sets != 1 else ""
    return f"{methods} method{plural[0]} on {sets} OOD set{plural[1]}"


def _facts(results: Results) -> dict[str, str]:
    run = results.run
    suite = run.get("suite", {})
    where = [
        f"{suite['name']}, {suite['split']}" if suite else str(run.get("benchmark", "")),
        _named("bundle", run.get("models", {}).get("bundle")),
        _named("recipe", run.get("recipe", {}).get("name")),
    ]
    seeds = sorted({row.seed for row in results.rows})
    several = (
        f"± is the 95 % interval of the mean over up to {len(seeds)} seeds (Student’s t); a method "
        "with one seed has none."
    )
    return {
        "eyebrow": " · ".join(part for part in where if part),
        "lede": str(run.get("asks", "")),
        "intervals": several if len(seeds) > 1 else "",
    }


def _named(kind: str, name: object) -> str:
    return f"{kind} {name}" if name else ""


def _pairs(place: Path, details: Mapping[str, Any]) -> tuple[ShownPair, ...]:
    """Return the pairs that an experiment lists, if their images are next to the results."""
    listed = details.get("pairs", ())
    return tuple(
        ShownPair(
            source=_beside(place, row["source"]),
            synthetic=_beside(place, row["synthetic"]),
            label=str(row["class"]),
            prompt=str(row["prompt"]),
            negative_label=str(row["negative_label"]),
            source_energy=float(row["energy_before"]),
            energies=tuple(float(value) for value in row["energies"]),
            stop=str(row["stop"]),
        )
        for row in listed
        if "source" in row and (place / _inside(row["source"])).is_file()
    )


def _beside(place: Path, name: object) -> bytes:
    return read_bounded(place / _inside(name), LARGEST_FILE)


def _inside(name: object) -> str:
    """Return a file name; one that leads out of its folder is an `InputError`."""
    path = PurePosixPath(str(name))
    if path.is_absolute() or ".." in path.parts or "\\" in str(name):
        raise InputError(f"results: {name!r} must name a file beside the results")
    return str(path)
