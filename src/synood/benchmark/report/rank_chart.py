"""Methods ranked by an average, with near and far OOD: an SVG file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import escape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH, LEFT, RIGHT, TOP, STEP = 820, 232, 104, 34, 21  # LEFT: room for the longest title
TICKS = (0, 20, 40, 60, 80, 100)
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#333}.own,.group{font-weight:600}"
    ".soft{fill:#666}.grid{stroke:#ddd}.span{stroke:#b9b9b9;stroke-width:2}"
    ".near{fill:#fff;stroke:#c85a17;stroke-width:2}.far{fill:#3572b0}.all{fill:#333}"
    "@media(prefers-color-scheme:dark){text,.all{fill:#ddd}.soft{fill:#aaa}.grid{stroke:#444}"
    ".span{stroke:#777}.near{fill:#0d1117;stroke:#e58a4d}.far{fill:#6ba6e0}}"
)


@dataclass(frozen=True)
class Ranked:
    """One method: the average that ranks it, as a fraction and as printed, and near and far."""

    title: str
    average: float
    printed: str
    near: float | None = None
    far: float | None = None
    own: bool = False  # set in bold


def rank_chart(groups: Mapping[str, Sequence[Ranked]], measure: str) -> str:
    """Draw each group's methods under its name, the lowest average first; fractions in percent.

    >>> svg = rank_chart({"inductive": [Ranked("MSP", 0.5, "50.0")]}, "FPR95")
    >>> svg.count("<circle"), svg.count("<rect")
    (2, 2)
    """
    shown = {name: sorted(items, key=_average) for name, items in groups.items() if items}
    height = TOP + STEP * sum(len(items) + 1 for items in shown.values()) + 30
    base = height - 26
    parts = _legend(measure)
    for tick in TICKS:
        x = _to_x(tick / 100)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{base}"/>')
        parts.append(f'<text x="{x:.1f}" y="{base + 18}" text-anchor="middle">{tick}</text>')
    y = TOP
    for name, items in shown.items():
        y += STEP
        parts.append(f'<text class="group" x="2" y="{y - 5}">{escape(name)}</text>')
        for item in items:
            y += STEP
            parts += _row(item, y - 9)
    label = escape(in_words(shown, measure))
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{label}"><style>{STYLE}</style>'
    )
    return opening + "".join(parts) + "</svg>\n"


def in_words(groups: Mapping[str, Sequence[Ranked]], measure: str) -> str:
    """Return the chart in words.

    >>> in_words({"inductive": [Ranked("MSP", 0.5, "50.0"), Ranked("MCM", 0.2, "20.0")]}, "FPR95")
    'FPR95 in percent, average of all sets. inductive: MCM 20.0, MSP 50.0.'
    """
    spoken = []
    for name, items in groups.items():
        ranked = (f"{item.title} {item.printed}" for item in sorted(items, key=_average))
        spoken += [f" {name}: {', '.join(ranked)}."] if items else []
    return f"{measure} in percent, average of all sets.{''.join(spoken)}"


def _average(item: Ranked) -> float:
    return item.average


def _to_x(fraction: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * fraction


def _row(item: Ranked, y: float) -> list[str]:
    weight = "own" if item.own else ""
    parts = [
        f'<text class="{weight}" x="12" y="{y + 4:.1f}">{escape(item.title)}</text>',
        f'<text class="{weight}" x="{WIDTH - 4}" y="{y + 4:.1f}" text-anchor="end">'
        f"{escape(item.printed)}</text>",
    ]
    if item.near is not None and item.far is not None:
        ends = f'x1="{_to_x(item.far):.1f}" x2="{_to_x(item.near):.1f}" y1="{y:g}" y2="{y:g}"'
        parts.append(f'<line class="span" {ends}/>')
    parts.append(_bar(_to_x(item.average), y))
    for kind, value in (("near", item.near), ("far", item.far)):
        if value is not None:
            parts.append(_dot(kind, _to_x(value), y))
    return parts


def _legend(measure: str) -> list[str]:
    kept: list[str] = []
    marks = ((LEFT, "far", "far OOD"), (LEFT + 90, "near", "near OOD"))
    for x, kind, words in marks:
        kept.append(_dot(kind, x + 5, 14))
        kept.append(f'<text class="soft" x="{x + 16}" y="18">{words}</text>')
    kept.append(_bar(LEFT + 195, 14))
    kept.append(
        f'<text class="soft" x="{LEFT + 204}" y="18">average of all sets, in figures</text>'
    )
    kept.append(f'<text class="soft" x="{WIDTH - 4}" y="18" text-anchor="end">'
                f"{escape(measure)}, %</text>")  # fmt: skip
    return kept


def _dot(kind: str, x: float, y: float) -> str:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:g}" r="4.5"/>'


def _bar(x: float, y: float) -> str:
    return f'<rect class="all" x="{x - 1.5:.1f}" y="{y - 7:g}" width="3" height="14"/>'
