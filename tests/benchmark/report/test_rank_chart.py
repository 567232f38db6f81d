"""The chart of all methods puts marks where their figures are, in order, and says them in words."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from synood.benchmark.report.rank_chart import Ranked, in_words, rank_chart

FRACTIONS = st.floats(0, 1)
NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1)
SVG = "{http://www.w3.org/2000/svg}"


@st.composite
def ranked(draw):
    average = draw(FRACTIONS)
    halves = draw(st.one_of(st.just((None, None)), st.tuples(FRACTIONS, FRACTIONS)))
    return Ranked(draw(NAMES), average, f"{100 * average:.1f}", *halves, draw(st.booleans()))


@given(st.lists(ranked(), min_size=1, max_size=6), st.lists(ranked(), max_size=3))
def test_marks_stand_where_their_figures_are_the_lowest_first(some, others):
    svg = ElementTree.fromstring(rank_chart({"one": some, "other": others}, "FPR95"))
    grid = [float(line.get("x1")) for line in svg.iter(f"{SVG}line") if line.get("class") == "grid"]
    left, right = min(grid), max(grid)

    def value(x):
        return (float(x) - left) / (right - left)

    bars = [r for r in svg.iter(f"{SVG}rect") if float(r.get("y")) > 20]  # under the legend
    expected = sorted(i.average for i in some) + sorted(i.average for i in others)
    found = [value(float(bar.get("x")) + 1.5) for bar in bars]
    assert all(abs(a - b) < 1e-3 for a, b in zip(found, expected, strict=True))
    heights = [float(bar.get("y")) for bar in bars]
    assert heights == sorted(heights)
    for kind in ("near", "far"):
        dots = [c for c in svg.iter(f"{SVG}circle") if c.get("class") == kind][1:]
        given_ones = sorted(v for i in (*some, *others) if (v := getattr(i, kind)) is not None)
        placed = sorted(value(dot.get("cx")) for dot in dots)
        assert all(abs(a - b) < 1e-3 for a, b in zip(placed, given_ones, strict=True))
    names = {text.text for text in svg.iter(f"{SVG}text")}
    assert {item.title for item in (*some, *others)} <= names
    assert ("other" in names) == bool(others)


def test_a_chart_stands_alone_and_is_said_in_words():
    groups = {
        "inductive": [Ranked("A & B", 0.5, "50.0"), Ranked("Own", 0.125, "12.5 ±0.1", 0.3, 0.1)],
        "test-time": [],
    }
    svg = rank_chart(groups, "FPR95")
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == in_words(groups, "FPR95")
    assert in_words(groups, "FPR95").endswith("inductive: Own 12.5 ±0.1, A & B 50.0.")
    assert not re.search(r"href|url\(|@import", svg)
    assert "prefers-color-scheme:dark" in svg
