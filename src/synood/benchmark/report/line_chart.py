"""A line chart as an SVG file, legible on light and dark pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import escape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 20, 92  # room for ticks, labels and the legend
COLOURS = ("#3572b0", "#c85a17", "#7d7d7d", "#5a8f29")  # distinguishable by the colour-blind too
DASHES = ("", "6 3", "2 3", "9 3 2 3")
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#333}.grid{stroke:#ddd}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.grid{stroke:#555}}"
)


def line_chart(
    lines: Mapping[str, Sequence[tuple[float, float]]], across: str, up: str, scale: float = 100.0
) -> str:
    """Draw named lines of (x, y) points; the values of y are multiplied by `scale` for its axis.

    The x values are evenly spaced in their order, since numbers of images grow by factors.
    """
    places = sorted({x for points in lines.values() for x, _ in points})
    values = [scale * y for points in lines.values() for _, y in points]
    ticks = _ticks(min(values), max(values))
    low, high = ticks[0], ticks[-1]

    def to_x(x: float) -> float:
        step = (WIDTH - LEFT - RIGHT) / max(1, len(places) - 1)
        return LEFT + step * places.index(x)

    def to_y(y: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - scale * y) / (high - low)

    parts = [_grid(tick, to_y(tick / scale)) for tick in ticks]
    parts += [_label(to_x(x), HEIGHT - BOTTOM + 20, f"{x:,g}") for x in places]
    parts.append(_label((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 42, across))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turn = f'transform="rotate(-90 16 {middle:g})"'
    parts.append(f'<text x="16" y="{middle:g}" text-anchor="middle" {turn}>{escape(up)}</text>')
    for number, (name, points) in enumerate(lines.items()):
        parts += _line([(to_x(x), to_y(y)) for x, y in points], name, number, len(lines))
    label = escape(in_words(lines, across, up, scale))
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{label}"><style>{STYLE}</style>'
    )
    return opening + "".join(parts) + "</svg>\n"


def in_words(
    lines: Mapping[str, Sequence[tuple[float, float]]], across: str, up: str, scale: float = 100.0
) -> str:
    """Return a line chart in words, with every point.

    >>> in_words({"tuned": [(1, 0.5), (10, 0.25)]}, "images", "FPR95, %")
    'FPR95, % over images. tuned: 50.0 at 1, 25.0 at 10.'
    """
    spoken = [
        f" {name}: {', '.join(f'{scale * y:.1f} at {x:,g}' for x, y in points)}."
        for name, points in lines.items()
    ]
    return f"{up} over {across}." + "".join(spoken)


def _line(points: Sequence[tuple[float, float]], name: str, number: int, count: int) -> list[str]:
    colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    stroke = f'stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dash}"'
    parts = [f'<polyline fill="none" {stroke} points="{way}"/>']
    parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
    left = LEFT + number * (WIDTH - LEFT - RIGHT) / count
    parts.append(f'<line {stroke} x1="{left:.1f}" x2="{left + 28:.1f}" y1="{HEIGHT - 18}" '
                 f'y2="{HEIGHT - 18}"/>')  # fmt: skip
    parts.append(f'<text x="{left + 34:.1f}" y="{HEIGHT - 14}">{escape(name)}</text>')
    return parts


def _grid(tick: float, y: float) -> str:
    line = f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return line + f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'


def _label(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{escape(text)}</text>'


def _ticks(low: float, high: float) -> list[float]:
    """Return round values that cover the range."""
    spread = high - low or 1.0
    step = next(s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if spread / s <= 8)
    first, last = int(low // step), int(-(-high // step))
    return [round(i * step, 6) for i in range(first, max(last, first + 1) + 1)]
