"""The page stands alone, shows the numbers it was given, and never trusts a name."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from figures import METHODS, SETS, png, report_of
from html_page import Page
from synood.benchmark.report import svg
from synood.benchmark.report.report import flatten, render, write_report
from synood.benchmark.results import tables

QUALITY = {"synood": 2.6, "neglabel": 1.5, "jigsaw": 2.6, "unguided": 2.0}


@pytest.fixture(scope="module")
def report():
    return report_of(QUALITY)


@pytest.fixture(scope="module")
def html(report):
    return render(report)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_the_page_loads_nothing_and_runs_nothing(html, page):
    assert page.all("script") == page.all("link") == page.all("iframe") == []
    assert not re.search(r"@import|url\(|https?://", html)
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.all("img"))
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)


def test_the_page_fits_phones_and_both_colour_schemes(html, page):
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all(
        "meta"
    )
    assert "prefers-color-scheme: dark" in html
    assert all("viewbox" in chart for chart in page.all("svg"))


def test_every_picture_and_chart_can_be_read_out(page):
    assert all(image["alt"] for image in page.all("img"))
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in page.all("svg"))


def test_every_figure_of_the_table_is_on_the_page(report, html):
    for metric in ("auroc", "fpr95"):
        cells = tables.table(report.results.rows, metric)
        for method in METHODS:
            row = re.search(
                rf'<th scope="row">{method.title}</th>(.*?)</tr>',
                html[html.index(f"<caption>{metric.upper()}") :],
                re.DOTALL,
            )
            shown = re.findall(r"<td[^>]*>([\d.]+)(?:<small>±([\d.]+)</small>)?", row[1])
            expected = [
                (f"{100 * e.mean:.1f}", f"{100 * e.half_width:.1f}" if e.half_width else "")
                for e in cells[method.name].values()
            ]
            assert shown == expected


def test_the_best_of_each_column_is_marked_whoever_it_is(report, html):
    worse = report_of({"synood": 1.0, "neglabel": 1.5, "jigsaw": 3.0})
    for given_report, given_html in ((report, html), (worse, render(worse))):
        winners = tables.best(tables.table(given_report.results.rows, "auroc"), "auroc")
        block = given_html[given_html.index("<caption>AUROC") : given_html.index("<caption>FPR95")]
        for method in METHODS:
            row = re.search(rf'<th scope="row">{method.title}</th>(.*?)</tr>', block, re.DOTALL)[1]
            marks = [" best" in tag for tag in re.findall(r"<td[^>]*>", row)]
            assert marks == [method.name in names for names in winners.values()]


def test_the_reading_heads_the_page(report, page):
    assert report.summary.headline in page.text
    for finding in report.summary.findings:
        assert finding.text in page.text


def test_pairs_show_prompt_energies_negative_label_and_stop(page):
    for text in (
        "A photo only remain a tree.",
        "−9.2 → −5.1",
        "the nice bamboo",
        "all rounds done",
    ):
        assert text in page.text


def test_histograms_state_what_the_threshold_does(report, page):
    for item in report.distributions:
        accepted = (item.ood >= report.threshold).mean()
        assert f"{100 * accepted:.1f}\xa0% accepted" in page.text
    assert len([c for c in page.all("svg") if c["aria-label"].startswith("Scores on")]) == len(SETS)


def test_names_are_shown_as_text_not_as_markup():
    html = render(report_of(QUALITY, label='<script>"x"</script>', prompt="a <b>tree</b> & key"))
    assert "<script>" not in html
    assert "a &lt;b&gt;tree&lt;/b&gt; &amp; key" in html
    assert "&lt;script&gt;" in html
    plot = svg.gain_plot([("<i>x</i>", 1.0, 0.5, 1.5, "better")], 'label "<" quoted')
    assert "<i>" not in plot
    assert 'label "' not in plot


def test_the_same_report_gives_the_same_bytes(tmp_path, report, html):
    write_report(tmp_path / "report.html", report)
    assert (tmp_path / "report.html").read_text() == html == render(report_of(QUALITY))


def test_a_report_without_pictures_has_no_empty_section(report):
    page = Page(render(replace(report, pairs=(), strips=())))
    assert "Synthetic images" not in page.text
    assert page.all("img") == []


def test_settings_are_listed_by_dotted_name():
    run = {
        "recipe": {"score": {"temperature": 0.01}},
        "seeds": [0, 1],
        "tried": [{"a": 1}],
        "limit": None,
        "yes": True,
    }
    assert flatten(run) == [
        ("recipe.score.temperature", "0.01"),
        ("seeds", "0, 1"),
        ("limit", "none"),
        ("yes", "yes"),
    ]


def area(chart, kind):
    """Area between a histogram's outline and its axis."""
    data = re.search(rf'<path class="{kind}" d="([^"]+)"', chart)[1]
    base, x, total = 78.0, 0.0, 0.0
    for y, right in re.findall(r"V([\d.]+)H([\d.]+)", data):
        total += abs(float(y) - base) * (float(right) - x)
        x = float(right)
    return total


def test_both_sides_of_a_histogram_have_the_same_area_whatever_their_size():
    rng = np.random.default_rng(0)
    above, below = rng.beta(5, 3, 900), rng.beta(3, 5, 60)
    axis = svg.axis_of(np.concatenate([above, below]))
    chart = svg.mirrored_histogram(above, below, axis, 0.5, "scores")
    assert area(chart, "id") == pytest.approx(area(chart, "ood"), rel=0.05)


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=50),
    st.lists(st.floats(0, 1), min_size=1, max_size=50),
    st.floats(0, 1),
)
def test_any_scores_can_be_drawn(above, below, threshold):
    above, below = np.array(above), np.array(below)
    axis = svg.axis_of(np.concatenate([above, below]))
    chart = svg.mirrored_histogram(above, below, axis, threshold, "scores")
    Page(f"<body>{chart}</body>")
    assert "nan" not in chart
    assert "inf" not in chart
    places = axis.place(np.sort(above))
    assert (np.diff(places) >= 0).all()
    assert axis.ticks() == sorted(axis.ticks())


def test_an_axis_has_round_ticks_in_the_unit_of_the_scores():
    assert svg.axis_of(np.linspace(-30.0, 12.0, 50)).ticks() == [-20, 0]
    assert svg.axis_of(np.full(9, 3.0)).ticks() == [2.5, 2.75, 3.0, 3.25, 3.5]


@given(st.floats(-5, 1), st.floats(0.001, 60))
def test_labels_of_an_axis_do_not_touch(low, span):
    scores = np.linspace(low, low + span, 200)
    chart = svg.mirrored_histogram(scores, scores, svg.axis_of(scores), low, "scores")
    labels = re.findall(r'<text class="tick-label" x="([\d.]+)"[^>]*>([^<]+)<', chart)
    for (x, text), (following, after) in pairwise(labels):
        assert float(following) - float(x) >= 3 * (len(text) + len(after))


def test_energies_are_drawn_higher_when_they_are_higher():
    chart = svg.energy_path(-9.0, (-7.0, -8.0), "energies")
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', chart)]
    assert heights[0] > heights[2] > heights[1]  # down the page is lower


def test_pictures_are_embedded_byte_by_byte(html):
    import base64

    assert base64.b64encode(png(1)).decode() in html
