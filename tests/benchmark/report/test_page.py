"""Everybody can read the page; it is made again from files, and these cannot lead it astray."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib import resources
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from figures import METHODS, QUALITY, SETS, png, report_of, results_with
from html_page import Page
from synood.benchmark.protocol.predictions import ScoredImage, read_predictions, write_predictions
from synood.benchmark.report.page import load_report
from synood.benchmark.report.records import comparisons_of as summarise_comparisons
from synood.benchmark.report.records import methods_of
from synood.benchmark.report.report import Figure, Mistake, Mistakes, render
from synood.benchmark.report.svg_curves import roc_chart, roc_of
from synood.benchmark.results.results import Results, read_results, write_results
from synood.cli.app import main
from synood.errors import InputError


@pytest.fixture(scope="module")
def report():
    """A report with an image, a test-time method and mistakes, so that every part is shown."""
    whole = report_of(QUALITY)
    late = [
        replace(row, method="late", kind="test-time", stream={"order": "shuffled", "seed": 0})
        for row in whole.results.rows
        if row.method == "neglabel"
    ]
    printed = {
        "benchmark": "b", "method": "synood", "ood_set": "average:all", "auroc": 0.9701,
        "fpr95": None, "convention": "id-positive", "source": "a paper <1>",
    }  # fmt: skip
    worst_mistakes = Mistake(png(5), "faces/<7>.png", 14.5, "pan<da>", "a gift", wrong=True)
    lowest = Mistake(png(6), "cat/1.png", -0.25, "dog", "a gift", wrong=False, label="cat")
    return replace(
        whole,
        results=Results(whole.results.run, (*whole.results.rows, *late), (printed,)),
        mistakes=(
            Mistakes("faces", "far", 3, 40, (worst_mistakes,)),
            Mistakes("test id", "id", 0, 50, (lowest,)),
        ),
        figures=(Figure("chart.svg", "FPR95 over numbers", b"<svg></svg>"),),
        text="a table\nof text",
    )


@pytest.fixture(scope="module")
def html(report):
    return render(report)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_headings_descend_one_level_at_a_time(page):
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert {2, 3} <= set(levels)


def test_pictures_charts_and_tables_are_named_and_reachable(html, page):
    assert all(image["alt"] for image in page.all("img"))
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in page.all("svg"))
    assert all(head["scope"] in ("col", "row", "colgroup", "rowgroup") for head in page.all("th"))
    tables = page.all("table")
    assert html.count("<caption>") == len(tables) > 0
    scrolled = [attrs for _, attrs in page.tags if attrs.get("class") == "scroll"]
    assert len(scrolled) == len(tables) + 1  # and the table of text
    assert all(
        attrs["tabindex"] == "0" and attrs["role"] == "region" and attrs["aria-label"]
        for attrs in scrolled
    )


def test_links_lead_to_parts_of_the_page_and_nowhere_else(page):
    places = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    links = [link["href"] for link in page.all("a")]
    assert links[0] == "#content"
    assert all(link[0] == "#" and link[1:] in places for link in links)
    assert {place for place in places if place != "content"} == {link[1:] for link in links[1:]}


def test_nothing_is_loaded_or_run(html, page):
    assert page.all("script") == page.all("link") == page.all("iframe") == []
    assert not re.search(r"@import|url\(|https?://", html)
    assert all(
        re.match(r"data:image/(png|webp|svg\+xml);base64,", i["src"]) for i in page.all("img")
    )


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_text_has_contrast_on_light_and_on_dark():
    css = resources.files("synood.benchmark.report").joinpath("templates/report.css").read_text()
    schemes = css.split("prefers-color-scheme: dark")
    assert len(schemes) == 2
    for part in schemes:
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", part))
        for text in ("ink", "soft", "id", "ood", "good", "bad"):
            for ground in ("paper", "panel", "best", "ours"):
                low, high = sorted(luminance(colours[name]) for name in (text, ground))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)
    assert "prefers-reduced-motion" in css


def test_what_colour_says_is_said_in_words_or_shapes_too(report, html, page):
    assert html.count('<span class="unseen"> best</span>') == len(
        re.findall('<td class="[^"]* best', html)
    )
    marks = [attrs for _, attrs in page.tags if attrs.get("class") == "mark"]
    assert all(mark["aria-label"] in ("gain", "loss", "neither") for mark in marks)
    assert "accepted" in page.text
    assert "3 of 40 accepted" in page.text


def test_mistakes_show_score_class_label_and_whether_they_are_wrong(page):
    assert "14.50" in page.text
    for text in (
        "pan<da>",
        "a gift",
        "−0.25 kept",
        "In-distribution images with the lowest scores",
    ):
        assert text in re.sub(r"\s+", " ", page.text)


def test_test_time_methods_and_published_figures_stand_apart(html):
    block = html[html.index("<caption>AUROC") : html.index("<caption>FPR95")]
    bodies = block.split("<tbody>")[1:]
    assert "Test-time methods" in bodies[-1]
    assert '<th scope="row">late</th>' in bodies[-1]
    assert all(">late<" not in body for body in bodies[:-1])
    assert 'class="published"' in bodies[0]
    assert "97.01" in bodies[0]
    assert "a paper &lt;1&gt;" in html


def test_intervals_over_test_pictures_are_those_of_the_rows(report, html):
    block = html[html.index("Intervals over test images") :]
    block = block[block.index("<caption>AUROC") : block.index("<caption>FPR95")]
    for name, title in (("neglabel", "NegLabel"), ("synood", "SynOOD")):
        line = re.search(rf'<th scope="row">{title}</th>(.*?)</tr>', block, re.DOTALL)[1]
        shown = re.findall(r"([\d.]+)–([\d.]+)", line)
        for ood, ends in zip(SETS, shown, strict=True):
            own = [r.ci95["auroc"] for r in report.results.rows
                   if r.method == name and r.ood_set == ood]  # fmt: skip
            assert tuple(map(float, ends)) == pytest.approx(100 * np.mean(own, axis=0), abs=0.051)


def test_both_conventions_of_fpr95_are_on_the_page(report, page):
    for row in report.results.rows:
        if (row.method, row.seed) == ("synood", 0):
            assert f"{100 * row.fpr95:.1f}" in page.text
            assert f"{100 * row.fpr95_ood_positive:.1f}" in page.text
    curves = [
        c["aria-label"] for c in page.all("svg") if c["aria-label"].startswith("ROC curve of")
    ]
    assert [label.split(": ")[0] for label in curves] == [f"ROC curve of {name}" for name in SETS]


scores = st.lists(st.integers(0, 12).map(lambda n: n / 12), min_size=1, max_size=40).map(np.array)


@given(scores, scores)
def test_a_roc_curve_is_that_of_its_definition(inside, outside):
    roc = roc_of(inside, outside)
    points = {(0.0, 0.0)} | {
        ((outside >= t).mean(), (inside >= t).mean()) for t in (*inside, *outside)
    }
    assert {(round(x, 9), round(y, 9)) for x, y in zip(roc.accepted, roc.kept, strict=True)} == {
        (round(x, 9), round(y, 9)) for x, y in points
    }
    assert np.trapezoid(roc.kept, roc.accepted) == pytest.approx(roc.auroc)
    Page(f"<body>{roc_chart(roc, 'label')}</body>")


def test_points_of_both_conventions_stand_where_they_are_defined():
    rng = np.random.default_rng(0)
    roc = roc_of(rng.normal(1.5, 1, 400), rng.normal(0, 1, 300))
    chart = roc_chart(roc, "label")
    ring = re.search(r'class="ring" cx="([\d.]+)" cy="([\d.]+)"', chart)
    square = re.search(r'class="square" d="M([\d.]+) ([\d.]+)h8', chart)
    on = lambda x, y: (40 + 168 * x, 8 + 168 * (1 - y))  # noqa: E731
    assert tuple(map(float, ring.groups())) == pytest.approx(on(roc.fpr95, 0.95), abs=0.1)
    corner = tuple(float(v) + 4 for v in square.groups())
    assert corner == pytest.approx(on(0.05, 1 - roc.fpr95_ood_positive), abs=0.1)


def test_records_survive_the_file(tmp_path):
    write_results(tmp_path / "results.json", results_with())
    read = read_results(tmp_path / "results.json")
    assert methods_of(read) == METHODS
    assert [c.verdict for c in summarise_comparisons(read)] == [
        c.verdict for c in summarise_comparisons(results_with())
    ]


def test_somebody_elses_results_become_a_page_and_tables(tmp_path, capsys):
    rows = [replace(row, method=f"x-{row.method}") for row in results_with().rows]
    write_results(tmp_path / "mine.json", Results({}, tuple(rows)))
    assert main(["report", str(tmp_path / "mine.json"), "--out", str(tmp_path / "p.html")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'p.html'}\n"
    page = Page((tmp_path / "p.html").read_text())
    assert "7 methods on 4 OOD sets" in page.text
    assert "Best inductive methods on average" in page.text
    for form, mark in (("md", "| x-synood |"), ("tex", r"\begin{tabular}"), ("text", "x-synood ")):
        assert main(["report", str(tmp_path / "mine.json"), "--format", form]) == 0
        assert mark in capsys.readouterr().out


def test_many_methods_against_one_are_drawn_over_that_one(tmp_path):
    listed = [
        {"method": name, "other": "neglabel", "metric": metric, "column": "average:all",
         "gain": gain, "low": gain - 0.01, "high": gain + 0.01}
        for name, gain in (("synood", 0.02), ("mcm", -0.02))
        for metric in ("auroc", "fpr95")
    ]  # fmt: skip
    write_results(
        tmp_path / "results.json", results_with(comparisons=listed, title="Table 1: everything")
    )
    page = Page(render(load_report(tmp_path)))
    assert "Table 1: everything" in page.text
    assert "MCM against NegLabel, all sets: AUROC clearly worse by 2.0 points" in page.text
    labels = [chart["aria-label"] for chart in page.all("svg")]
    assert labels[0].startswith("Gain over NegLabel in AUROC, points: of SynOOD +2.0")
    assert "MCM -2.0" in labels[0]


def test_few_methods_against_many_are_drawn_each_over_the_others(tmp_path):
    listed = [
        {"method": name, "other": other, "metric": metric, "column": "average:all",
         "gain": gain, "low": gain - 0.01, "high": gain + 0.01}
        for name, gain in (("synood", 0.02), ("unguided", -0.02))
        for other in ("neglabel", "mcm", "energy")
        for metric in ("auroc", "fpr95")
    ]  # fmt: skip
    write_results(tmp_path / "results.json", results_with(comparisons=listed))
    labels = [c["aria-label"] for c in Page(render(load_report(tmp_path))).all("svg")]
    drawn = [label.partition(",")[0] for label in labels[:4]]
    assert drawn == [f"Gain of {m} in {x}" for m in ("SynOOD", "unguided")
                     for x in ("AUROC", "FPR95")]  # fmt: skip
    assert all(f"{name} +2.0" in labels[0] for name in ("NegLabel", "MCM", "Energy"))
    assert "-2.0" not in labels[0]


def test_every_metric_has_its_unit(html):
    for block in ("AUROC", "FPR95", "FPR95 with OOD positive", "AUPR-in", "AUPR-out"):
        assert f"<caption>{block}, % <span>" in html
    for figure in re.findall(r"<dt>AUROC</dt><dd>([\d.]+ ?%?)", html):
        assert figure.endswith(" %")


@pytest.mark.parametrize("name", ["../secret.svg", "/etc/hostname", "..\\x", "absent.svg"])
def test_a_results_file_shows_nothing_from_elsewhere(tmp_path, name):
    (tmp_path / "secret.svg").write_text("<svg></svg>")
    place = tmp_path / "results"
    write_results(place / "results.json", results_with(shown=[{"file": name, "words": "x"}]))
    with pytest.raises(InputError):
        load_report(place)


@pytest.mark.parametrize(
    "run",
    [
        {"comparisons": [{"method": 1}]},
        {"comparisons": 3},
        {"methods": [{"name": "synood"}]},
        {"shown": [{"file": "a"}]},
        {"shown": 5},
        {"suite": "mini"},
        {"details": []},
        {"notes": 3},
    ],
)
def test_a_malformed_record_is_a_sentence(tmp_path, run):
    write_results(tmp_path / "results.json", results_with(**run))
    with pytest.raises(InputError, match="results"):
        load_report(tmp_path)


def test_judged_pictures_survive_the_file_and_bad_lines_are_named(tmp_path):
    judged = [ScoredImage("faces", "far", "a.png", 0.123456789, "cat", "a gift")]
    write_predictions(tmp_path / "scores.jsonl", judged)
    assert read_predictions(tmp_path / "scores.jsonl") == judged
    row = json.loads((tmp_path / "scores.jsonl").read_text())
    for name, value in (("score", "high"), ("group", "middle"), ("set", ""), ("label", 3)):
        (tmp_path / "bad.jsonl").write_text(json.dumps({**row, name: value}) + "\n")
        with pytest.raises(InputError, match=f"line 1: '{name}'"):
            read_predictions(tmp_path / "bad.jsonl")
