"""The report's charts as inline SVG; colours are the page's, light or dark."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Sequence

BESIDE = 22  # characters of a name that fit beside an interval
LEAST_SPAN = 1e-6  # scores nearer together than this are drawn at one place


@dataclass(frozen=True)
class Axis:
    """Maps scores to [0, 1] of the chart's width."""

    low: float
    high: float

    def place(self, values: np.ndarray | float) -> np.ndarray:
        """Return the positions of `values`, clipped to the axis."""
        positions = np.asarray(values, dtype=np.float64)
        return np.clip((positions - self.low) / (self.high - self.low), 0.0, 1.0)

    def ticks(self) -> list[float]:
        """Return three to six round values within the axis."""
        return _round_steps(self.low, self.high)


def axis_of(scores: np.ndarray) -> Axis:
    """Choose the axis that shows all but the outermost 0.2 % of `scores` on either side."""
    low, high = (float(v) for v in np.quantile(scores, [0.002, 0.998]))
    margin = 0.02 * (high - low) if high - low > LEAST_SPAN else 0.5
    return Axis(low - margin, high + margin)


def mirrored_histogram(
    above: np.ndarray,
    below: np.ndarray,
    axis: Axis,
    threshold: float | None,
    label: str,
    bins: int = 32,
) -> Markup:
    """Draw the fractions of `above` over the axis and of `below` under it; `threshold` is a line.

    Both sides have the same scale; `label` is its text alternative.
    """
    width, height, middle = 240.0, 168.0, 78.0
    counts = [_shares(axis.place(side), bins) for side in (above, below)]
    top = max(float(side.max()) for side in counts) or 1.0
    parts = [
        _steps(counts[0], width, middle, -64.0 / top, "id"),
        _steps(counts[1], width, middle, 64.0 / top, "ood"),
        f'<line class="axis" x1="0" x2="{width:g}" y1="{middle:g}" y2="{middle:g}"/>',
    ]
    if threshold is not None:
        parts.append(_threshold(width * float(axis.place(threshold)), width))
    for x, tick in _apart([(width * float(axis.place(tick)), tick) for tick in axis.ticks()]):
        anchor = "start" if x < 14 else "end" if x > width - 14 else "middle"
        parts.append(f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="146" y2="150"/>')
        parts.append(text(x, 163, _number(tick), "tick-label", anchor))
    return chart(width, height, label, parts)


def gain_plot(rows: Sequence[tuple[str, float, float, float, str]], label: str) -> Markup:
    """Draw one dot and interval per row (name, gain, low, high, verdict), in points.

    The axis spans all intervals and zero. Long names are above their intervals.
    """
    longest = max((len(name) for name, *_ in rows), default=0)
    above = longest > BESIDE
    width, step = 340.0, 38.0 if above else 26.0
    left = 8.0 if above else max(104.0, 6.8 * longest + 6)
    base = step * len(rows) + 6
    ends = [0.0, *(value for row in rows for value in row[2:4])]
    margin = 0.04 * (max(ends) - min(ends)) or 1.0
    axis = Axis(min(ends) - margin, max(ends) + margin)

    def place(points: float) -> float:
        return left + (width - left - 14) * float(axis.place(points))

    parts = [f'<line class="zero" x1="{place(0):.1f}" x2="{place(0):.1f}" y1="2" y2="{base:g}"/>']
    for i, (name, gain, low, high, verdict) in enumerate(rows):
        y = step * i + (29 if above else 15)
        parts.append(text(0, y - 11 if above else y + 4, name, "row-label", "start"))
        span = f'x1="{place(low):.1f}" x2="{place(high):.1f}" y1="{y:g}" y2="{y:g}"'
        parts.append(f'<line class="whisker {verdict}" {span}/>')
        parts.append(f'<circle class="dot {verdict}" cx="{place(gain):.1f}" cy="{y:g}" r="4.5"/>')
    for tick in axis.ticks():
        parts.append(text(place(tick), base + 17, _signed(tick), "tick-label", "middle"))
    return chart(width, base + 24, label, parts)


def energy_path(source: float, energies: Sequence[float], label: str) -> Markup:
    """Draw the energy of the source and of each round's image as a small line, higher = up."""
    values = [source, *energies]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    step = 84.0 / max(1, len(values) - 1)
    points = [(6 + step * i, 26 - 20 * (v - low) / span) for i, v in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    parts = [f'<polyline class="path" points="{line}"/>']
    for i, (x, y) in enumerate(points):
        kind = "id" if i == 0 else "ood"
        parts.append(f'<circle class="mark {kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
    return chart(96, 32, label, parts)


def chart(width: float, height: float, label: str, parts: Sequence[str]) -> Markup:
    """Put parts into an SVG image of this size; `label` is its text alternative."""
    opening = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">'
    return Markup(opening + "".join(parts) + "</svg>")


def text(x: float, y: float, words: str, kind: str, anchor: str) -> str:
    """Return text at a position, of the CSS class `kind`."""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{escape(words)}</text>'


def _threshold(x: float, width: float) -> str:
    anchor, shift = ("end", -5.0) if x > width / 2 else ("start", 5.0)
    line = f'<line class="threshold" x1="{x:.1f}" x2="{x:.1f}" y1="2" y2="146"/>'
    return line + text(x + shift, 9, "threshold", "threshold-label", anchor)


def _apart(ticks: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Leave out ticks whose labels, 6.5 wide per digit, would touch the one before."""
    kept: list[tuple[float, float]] = []
    for x, tick in ticks:
        digits = len(_number(tick)) + (len(_number(kept[-1][1])) if kept else 0)
        if not kept or x - kept[-1][0] >= 3.25 * digits + 5:
            kept.append((x, tick))
    return kept


def _shares(places: np.ndarray, bins: int) -> np.ndarray:
    counts, _ = np.histogram(places, bins=bins, range=(0.0, 1.0))
    return counts / max(1, len(places))


def _steps(shares: np.ndarray, width: float, base: float, scale: float, kind: str) -> str:
    step = width / len(shares)
    path = [f"M0 {base:g}"]
    for i, share in enumerate(shares):
        path.append(f"V{base + scale * float(share):.1f}H{step * (i + 1):.1f}")
    return f'<path class="{kind}" d="{"".join(path)}V{base:g}Z"/>'


def _round_steps(low: float, high: float) -> list[float]:
    rough = (high - low) / 4
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= rough)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def _number(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def _signed(value: float) -> str:
    return "0" if value == 0 else f"{value:+g}".replace("-", "−")
