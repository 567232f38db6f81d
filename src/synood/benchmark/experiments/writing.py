"""What an experiment leaves behind: results.json, the table as text, Markdown and LaTeX, charts."""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from synood.benchmark import tables
from synood.benchmark.methods import titles
from synood.benchmark.results import DIGITS, Results, write_results
from synood.benchmark.writing import HEADINGS, latex, markdown
from synood.files import read_text, write_bytes, write_text

if TYPE_CHECKING:
    from pathlib import Path

    from synood.benchmark.comparing import Comparison
    from synood.benchmark.experiments.interface import Experiment, Outcome
    from synood.benchmark.experiments.stage import Stage


def write_outcome(place: Path, experiment: Experiment, stage: Stage, outcome: Outcome) -> str:
    """Write everything into `place` and return what is to be printed."""
    text = told(experiment, outcome)
    write_results(
        place / "results.json", Results(_record(experiment, stage, outcome), outcome.rows)
    )
    write_text(place / "table.txt", text)
    if outcome.rows:
        named = titles(outcome.methods)
        blocks = [markdown(outcome.rows, named, metric) for metric in HEADINGS]
        write_text(place / "table.md", "\n".join([f"# {experiment.title}\n", *blocks]))
        blocks = [latex(outcome.rows, named, metric) for metric in HEADINGS]
        write_text(place / "table.tex", "\n".join(blocks))
    for chart in outcome.charts:
        write_text(place / f"{chart.name}.svg", chart.svg)
    for name, data in outcome.pictures.items():
        write_bytes(place / name, data)
    return text


def told(experiment: Experiment, outcome: Outcome) -> str:
    """Return the table, what is clearly better or worse on average, and the notes, as text."""
    parts = [f"{experiment.title}\n{experiment.asks}"]
    if outcome.table is not None:
        parts.append(outcome.table)
    if outcome.rows:
        parts.append(tables.text_table(outcome.rows, titles(outcome.methods)))
        parts.append("± is the 95 % interval of the mean over the seeds, * the best of a column.")
    named = titles(outcome.methods)
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


def _record(experiment: Experiment, stage: Stage, outcome: Outcome) -> dict[str, Any]:
    run = tomllib.loads(read_text(stage.workspace.root / "run.toml"))
    del run["schema"]  # of run.toml; results.json has its own
    return {
        "experiment": experiment.name,
        **run,
        "seeds": list(stage.seeds),
        "suite": {
            "name": stage.suite.name,
            "seed": stage.suite.seed,
            "split": stage.suite.split,
            "fingerprint": stage.suite.fingerprint(),
        },
        "choices": dict(stage.choices),
        "titles": dict(titles(outcome.methods)),
        "comparisons": [_rounded(asdict(item)) for item in outcome.comparisons],
        "details": dict(outcome.details),
        "notes": list(outcome.notes),
    }


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: round(value, DIGITS) if isinstance(value, float) else value
        for name, value in values.items()
    }
