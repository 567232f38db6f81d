"""`index.html` of the experiments: the question, the findings and the page of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from synood.benchmark.experiments import experiments
from synood.benchmark.report.page import RESULTS, load_report
from synood.benchmark.report.report import template
from synood.files import write_text

if TYPE_CHECKING:
    from pathlib import Path

FOUND = 3  # sentences of an experiment


@dataclass(frozen=True)
class Entry:
    """One experiment on the index: the folder of its page, and its findings."""

    name: str
    title: str
    asks: str
    sentences: tuple[str, ...]


def write_index(place: Path) -> Path:
    """List the experiments in `place`, in the paper's order; return the page's path.

    Only the first findings are listed: what is best, and how SynOOD compares.
    """
    entries, where = [], ""
    for name, item in experiments().items():
        if (place / name / RESULTS).is_file():
            found = load_report(place / name)
            sentences = tuple(finding.text for finding in found.summary.findings[:FOUND])
            entries.append(Entry(name, item.title, item.asks, sentences))
            where = where or found.facts["eyebrow"]
    page: str = template("index.html.jinja").render(entries=entries, where=where)
    write_text(place / "index.html", page)
    return place / "index.html"
