"""`report.html`: one self-contained page with the table, its reading, the scores and the pictures.

Nothing on the page is loaded from elsewhere and no script runs; the same input gives the same
bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from synood.benchmark import svg, tables
from synood.benchmark.reading import ALL, OURS, Reading
from synood.files import write_text

if TYPE_CHECKING:
    from pathlib import Path

    from markupsafe import Markup

    from synood.benchmark.comparing import Comparison
    from synood.benchmark.methods import Method
    from synood.benchmark.results import Results

_METRICS = {"auroc": ("AUROC", "higher is better"), "fpr95": ("FPR95", "lower is better")}
_STOPS = {
    "rounds": "all rounds used",
    "target": "target energy reached",
}


@dataclass(frozen=True)
class Distribution:
    """The scores of one detector on one OOD set, beside those of the in-distribution test set."""

    name: str
    group: str
    in_distribution: np.ndarray
    ood: np.ndarray


@dataclass(frozen=True)
class Pair:
    """An in-distribution picture and what the synthesis made of it; both PNG bytes.

    `source_energy` and `energies` (one per round) are energies: higher is further out.
    """

    source: bytes
    synthetic: bytes
    label: str
    prompt: str
    negative_label: str
    source_energy: float
    energies: tuple[float, ...]
    stop: str


@dataclass(frozen=True)
class Strip:
    """The same source as each tuning set shows it: titles and PNG bytes, in the order shown."""

    label: str
    pictures: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True)
class Report:
    """Everything that the page shows."""

    results: Results
    methods: tuple[Method, ...]
    comparisons: tuple[Comparison, ...]
    reading: Reading
    distributions: tuple[Distribution, ...]
    threshold: float
    pairs: tuple[Pair, ...]
    strips: tuple[Strip, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def write_report(path: Path, report: Report) -> None:
    """Write the page, whole or not at all."""
    write_text(path, render(report))


def render(report: Report) -> str:
    """Return the page as HTML."""
    environment = Environment(
        loader=PackageLoader("synood.benchmark"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    layout = tables.columns(report.results.rows)
    return environment.get_template("report.html.jinja").render(
        report=report,
        run=report.results.run,
        layout=layout,
        spans=_spans(layout),
        starts=_column_classes(layout),
        blocks=_blocks(report),
        gains=_gain_plots(report),
        histograms=[_histogram(item, report) for item in report.distributions],
        pairs=[_pair(pair) for pair in report.pairs],
        strips=[_strip(strip) for strip in report.strips],
        settings=flatten(report.results.run),
    )


def flatten(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return the leaves of nested mappings as (dotted name, text); lists stay on one line."""
    rows: list[tuple[str, str]] = []
    for name, item in value.items():
        if isinstance(item, Mapping):
            rows += flatten(item, f"{prefix}{name}.")
        elif not _is_table(item):
            rows.append((prefix + name, _plain(item)))
    return rows


def _is_table(value: object) -> bool:
    """Whether a value is a list of records, which the page shows elsewhere or not at all."""
    return isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value)


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


@dataclass(frozen=True)
class _Cell:
    text: str
    spread: str
    best: bool


@dataclass(frozen=True)
class _Line:
    method: Method
    cells: tuple[_Cell, ...]
    ours: bool


@dataclass(frozen=True)
class _Block:
    name: str
    direction: str
    baselines: tuple[_Line, ...]
    controls: tuple[_Line, ...]


def _spans(layout: Sequence[tables.Column]) -> list[tuple[str, int]]:
    """Return the headings over the columns and how many columns each covers."""
    names = ["Average" if c.is_average else f"{c.group.capitalize()} OOD" for c in layout]
    return [(name, names.count(name)) for name in dict.fromkeys(names)]


def _column_classes(layout: Sequence[tables.Column]) -> list[str]:
    """Return each column's CSS classes: whether it is an average, and whether it opens a span."""
    names = [c.is_average or c.group for c in layout]
    return [
        " ".join(["average"] * c.is_average + ["first"] * (names.index(names[i]) == i))
        for i, c in enumerate(layout)
    ]


def _blocks(report: Report) -> list[_Block]:
    rows = report.results.rows
    layout = tables.columns(rows)
    blocks = []
    for metric, (name, direction) in _METRICS.items():
        cells = tables.table(rows, metric)
        winners = tables.best(cells, metric)
        lines = [
            _Line(
                method,
                tuple(
                    _cell(cells[method.name][c.key], method.name in winners[c.key]) for c in layout
                ),
                method.name == OURS,
            )
            for method in report.methods
        ]
        plain = tuple(line for line in lines if not line.method.is_control)
        controls = tuple(line for line in lines if line.method.is_control)
        blocks.append(_Block(name, direction, plain, controls))
    return blocks


def _cell(value: tables.Estimate, best: bool) -> _Cell:
    spread = "" if value.half_width is None else f"±{100 * value.half_width:.1f}"
    return _Cell(f"{100 * value.mean:.1f}", spread, best)


def _gain_plots(report: Report) -> list[tuple[str, Markup]]:
    names = {method.name: method.title for method in report.methods}
    shown = [c for c in report.comparisons if c.column == ALL]
    plots = []
    for metric, (name, _) in _METRICS.items():
        rows = [
            (names[c.other], 100 * c.gain, 100 * c.low, 100 * c.high, c.verdict)
            for c in shown
            if c.metric == metric
        ]
        label = f"Gain of SynOOD in {name}, points: " + "; ".join(
            f"over {other} {gain:+.1f} ({low:+.1f} to {high:+.1f})"
            for other, gain, low, high, _ in rows
        )
        plots.append((name, svg.gain_plot(rows, label)))
    return plots


def _histogram(item: Distribution, report: Report) -> dict[str, object]:
    everything = [item.in_distribution, *(other.ood for other in report.distributions)]
    axis = svg.axis_of(np.concatenate(everything))
    kept = float(np.mean(item.in_distribution >= report.threshold))
    accepted = float(np.mean(item.ood >= report.threshold))
    label = (
        f"Scores on {item.name}: {100 * kept:.0f} % of in-distribution pictures and "
        f"{100 * accepted:.0f} % of OOD pictures lie above the threshold"
    )
    chart = svg.mirrored_histogram(item.in_distribution, item.ood, axis, report.threshold, label)
    return {
        "name": item.name,
        "group": item.group,
        "kept": f"{100 * kept:.1f}",
        "accepted": f"{100 * accepted:.1f}",
        "n_ood": len(item.ood),
        "chart": chart,
    }


def _pair(pair: Pair) -> dict[str, object]:
    path = ", ".join(f"{energy:.1f}" for energy in pair.energies)
    label = f"Energy of the source {pair.source_energy:.1f}, then round by round {path}"
    return {
        "source": _data_uri(pair.source),
        "synthetic": _data_uri(pair.synthetic),
        "label": pair.label,
        "prompt": pair.prompt,
        "negative_label": pair.negative_label,
        "before": f"{pair.source_energy:.1f}".replace("-", "−"),
        "after": f"{pair.energies[-1]:.1f}".replace("-", "−"),
        "path": svg.energy_path(pair.source_energy, pair.energies, label),
        "stop": _STOPS.get(pair.stop, pair.stop),
    }


def _strip(strip: Strip) -> dict[str, object]:
    pictures: Sequence[tuple[str, str]] = [(title, _data_uri(png)) for title, png in strip.pictures]
    return {"label": strip.label, "pictures": pictures}


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
