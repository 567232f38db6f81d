"""Writes an experiment's results: results.json, a page, the table as text, Markdown and LaTeX."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from synood.benchmark.protocol.methods import titles
from synood.benchmark.report.extra_tables import extra_tables_to_json
from synood.benchmark.report.page import load_report
from synood.benchmark.report.records import comparisons_to_json, methods_to_json
from synood.benchmark.report.report import write_report
from synood.benchmark.report.writing import all_tables
from synood.benchmark.results.published import published
from synood.benchmark.results.results import Results, write_results
from synood.benchmark.results.text import source_lines, text_table
from synood.files import read_text, write_bytes, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from synood.benchmark.experiments.interface import Experiment, Outcome
    from synood.benchmark.experiments.setup import Setup
    from synood.benchmark.results.comparisons import Comparison
    from synood.benchmark.results.published import Published


def write_outcome(place: Path, experiment: Experiment, setup: Setup, outcome: Outcome) -> str:
    """Write everything to `place`, the page included; return the text to print."""
    own = published(setup.suite.name, [method.name for method in outcome.methods])
    others = (*own, *outcome.published)
    text = outcome_text(experiment, outcome, others)
    results = Results(
        _record(experiment, setup, outcome), outcome.rows, tuple(row.to_json() for row in others)
    )
    for chart in outcome.charts:
        write_text(place / f"{chart.name}.svg", chart.svg)
    for name, data in outcome.images.items():
        write_bytes(place / name, data)
    write_results(place / "results.json", results)
    write_text(place / "table.txt", text)
    if outcome.rows:
        for form in ("md", "tex"):
            write_text(place / f"table.{form}", all_tables(results, form))
    write_report(place / "report.html", load_report(place))
    return text


def outcome_text(experiment: Experiment, outcome: Outcome, others: Sequence[Published] = ()) -> str:
    """Return the table, the comparisons on average and the notes, as text.

    `others` are published figures, printed below their methods' own, with their sources.
    """
    parts = [f"{experiment.title}\n{experiment.asks}"]
    if outcome.table is not None:
        parts.append(outcome.table)
    parts += [sheet.text() for sheet in outcome.extra_tables]
    if outcome.rows:
        parts.append(text_table(outcome.rows, titles(outcome.methods), others))
        parts.append("± is the 95 % interval of the mean over the seeds, * the best of a column.")
    named = titles(outcome.methods)
    parts += source_lines(others, named)
    found = [_sentence(item, named) for item in outcome.comparisons if _is_headline(item)]
    if found:
        parts.append("\n".join(found))
    parts += [f"note: {note}" for note in outcome.notes]
    return "\n\n".join(parts) + "\n"


def _is_headline(item: Comparison) -> bool:
    return item.metric == "fpr95" and item.column == "average:all"


def _sentence(item: Comparison, named: dict[str, str] | Any) -> str:  # noqa: ANN401 - a mapping
    verdict = {"better": "better than", "worse": "worse than", "even": "not clearly apart from"}
    points = f"{100 * item.gain:+.1f} points, {100 * item.low:+.1f} to {100 * item.high:+.1f}"
    method, other = named.get(item.method, item.method), named.get(item.other, item.other)
    return f"FPR95, all sets: {method} is {verdict[item.verdict]} {other} ({points})"


def run_record(setup: Setup) -> dict[str, Any]:
    """Return what every results.json says of the run, the suite and the choices."""
    run = tomllib.loads(read_text(setup.workspace.root / "run.toml"))
    del run["schema"]  # of run.toml; results.json has its own
    suite = setup.suite
    return {
        **run,
        "seeds": list(setup.seeds),
        "suite": {
            "name": suite.name,
            "seed": suite.seed,
            "split": suite.split,
            "sets": [
                {"name": item.name, "group": item.group, "role": item.role, "n": item.n}
                for item in suite.sets
            ],
            "fingerprint": suite.fingerprint(),
        },
        "choices": dict(setup.choices),
    }


def _record(experiment: Experiment, setup: Setup, outcome: Outcome) -> dict[str, Any]:
    return {
        "experiment": experiment.name,
        "title": experiment.title,
        "asks": experiment.asks,
        **run_record(setup),
        "titles": dict(titles(outcome.methods)),
        "methods": methods_to_json(outcome.methods),
        "comparisons": comparisons_to_json(outcome.comparisons),
        "details": dict(outcome.details),
        "notes": list(outcome.notes),
        "table": outcome.table,
        "sheets": extra_tables_to_json(outcome.extra_tables),
        "shown": [
            {"file": f"{chart.name}.svg", "words": chart.words or chart.name}
            for chart in outcome.charts
        ],
    }
