"""`report.html`: one self-contained page with the table, a summary, the scores and the images.

The page loads nothing and runs no script; equal input gives equal bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from synood.benchmark.report import _page_charts, _page_tables, svg
from synood.benchmark.report.records import published_of
from synood.benchmark.results import tables
from synood.benchmark.results.published import sources
from synood.errors import InputError
from synood.files import write_text

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from synood.benchmark.protocol.methods import Method
    from synood.benchmark.report.summary import Summary
    from synood.benchmark.results.comparisons import Comparison
    from synood.benchmark.results.results import Results

FINDINGS = 12  # shown at once, the others behind a fold
_STOPS = {
    "rounds": "all rounds done",
    "steps": "all steps done",
    "target": "target energy reached",
    "jigsaw": "pieces shuffled",
}
_ELSEWHERE = {"title", "asks", "titles", "table", "notes", "remarks", "shown"}  # on the page
_KINDS = {b"\x89PNG": "png", b"RIFF": "webp", b"<svg": "svg+xml"}


@dataclass(frozen=True)
class Distribution:
    """The scores of one detector on one OOD set, beside those of the in-distribution test set."""

    name: str
    group: str
    in_distribution: NDArray[np.float32]
    ood: NDArray[np.float32]


@dataclass(frozen=True)
class ShownPair:
    """An in-distribution image and its synthetic image, both as PNG or WebP bytes.

    `source_energy` and `energies` (one per round) are energies: higher is more OOD. An image that
    was not painted has no rounds and no prompt.
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
    """One source in each tuning set: titles and encoded images."""

    label: str
    images: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True)
class Mistake:
    """A test image with a confidently wrong score; `label` is its true class.

    `wrong` is whether it is on the wrong side of the threshold; `p_value` is shown where there is
    one.
    """

    thumbnail: bytes
    image: str
    score: float
    nearest_class: str
    nearest_negative: str
    wrong: bool
    label: str | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class Mistakes:
    """The most confident mistakes of one set; `count` of `total` images are wrong.

    Without a threshold nothing is wrong, and `count` is None.
    """

    name: str
    group: str
    count: int | None
    total: int
    shown: tuple[Mistake, ...]


@dataclass(frozen=True)
class Figure:
    """A chart or image: its file name, its text alternative, and its bytes."""

    name: str
    words: str
    data: bytes


@dataclass(frozen=True)
class Report:
    """Everything on the page; empty parts have no section."""

    results: Results
    methods: tuple[Method, ...]
    comparisons: tuple[Comparison, ...]
    summary: Summary
    distributions: tuple[Distribution, ...] = ()
    threshold: float | None = 0.0
    pairs: tuple[ShownPair, ...] = ()
    strips: tuple[Strip, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    mistakes: tuple[Mistakes, ...] = ()
    figures: tuple[Figure, ...] = ()
    text: str = ""  # a table whose columns are not OOD sets, as plain text


def write_report(path: Path, report: Report) -> None:
    """Write the page, atomically."""
    write_text(path, render(report))


def render(report: Report) -> str:
    """Return the page as HTML."""
    rows, others = report.results.rows, published_of(report.results)
    layout = tables.shown_columns(rows) if rows else ()
    sets = [column for column in layout if not column.is_average]
    titles = {method.name: method.title for method in report.methods}
    named = (rows, report.methods, others)
    page: str = template("report.html.jinja").render(
        report=report,
        run=report.results.run,
        heads=_page_tables.heads_of(layout),
        set_heads=_page_tables.heads_of(sets),
        blocks=_page_tables.blocks(*named, _page_tables.METRICS) if rows else [],
        more=_page_tables.blocks(*named, _page_tables.MORE) if rows else [],
        intervals=_page_tables.interval_blocks(rows, report.methods, sets),
        published=bool(others),
        sources=sources(others, titles),
        first=FINDINGS,
        gains=_page_charts.gain_plots(report.comparisons, titles),
        sets=_page_charts.set_charts(report.distributions, report.threshold),
        mistakes=[_mistakes(item) for item in report.mistakes],
        threshold="" if report.threshold is None else _score(report.threshold),
        figures=[(item.name, item.words, data_uri(item.data)) for item in report.figures],
        pairs=[_pair(pair) for pair in report.pairs],
        strips=[_strip(strip) for strip in report.strips],
        settings=flatten({k: v for k, v in report.results.run.items() if k not in _ELSEWHERE}),
    )
    return page


def template(name: str) -> Any:  # noqa: ANN401 - a jinja2 template
    """Return one of the package's templates; values are escaped."""
    environment = Environment(
        loader=PackageLoader("synood.benchmark.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


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
    """Whether a value is a list of records, which is not among the settings."""
    return isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value)


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


def _pair(pair: ShownPair) -> dict[str, object]:
    path = ", ".join(f"{energy:.1f}" for energy in pair.energies)
    last = pair.energies[-1] if pair.energies else pair.source_energy
    label = f"Energy of the source {pair.source_energy:.1f}, then round by round {path}"
    return {
        "source": data_uri(pair.source),
        "synthetic": data_uri(pair.synthetic),
        "label": pair.label,
        "prompt": pair.prompt,
        "negative_label": pair.negative_label,
        "before": f"{pair.source_energy:.1f}".replace("-", "−"),
        "after": f"{last:.1f}".replace("-", "−"),
        "path": svg.energy_path(pair.source_energy, pair.energies, label),
        "stop": _STOPS.get(pair.stop, pair.stop),
        "rounds": len(pair.energies),
    }


def _strip(strip: Strip) -> dict[str, object]:
    images: Sequence[tuple[str, str]] = [(title, data_uri(data)) for title, data in strip.images]
    return {"label": strip.label, "images": images}


def _mistakes(item: Mistakes) -> dict[str, object]:
    shown = [
        {**vars(one), "uri": data_uri(one.thumbnail), "score": _score(one.score)}
        for one in item.shown
    ]
    return {**vars(item), "shown": shown}


def _score(value: float) -> str:
    """Return log odds as text.

    >>> _score(2.3456), _score(-0.5)
    ('2.35', '−0.50')
    """
    return f"{value:.2f}".replace("-", "−")


def data_uri(data: bytes) -> str:
    """Return an image as a data URI, its type from its first bytes: PNG, WebP or SVG."""
    kind = _KINDS.get(data[:4])
    if kind is None:
        raise InputError("an image of the page is neither PNG, WebP nor SVG")
    return f"data:image/{kind};base64," + base64.b64encode(data).decode("ascii")
