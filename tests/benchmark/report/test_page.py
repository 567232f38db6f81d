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

from figures import METHODS, SETS, comparisons_of, planted_scores, png, report_of, rows_of
from html_page import Page
from synood.benchmark.protocol.methods import SYNOOD
from synood.benchmark.protocol.predictions import ScoredImage, read_predictions, write_predictions
from synood.benchmark.report.page import load_report
from synood.benchmark.report.records import comparisons_of as summarise_comparisons
from synood.benchmark.report.records import comparisons_to_json, methods_of, methods_to_json
from synood.benchmark.report.report import Figure, Mistake, Mistakes, render
from synood.benchmark.report.summary import summarise_run
from synood.benchmark.report.svg_curves import roc_chart, roc_of
from synood.benchmark.results.comparisons import compare
from synood.benchmark.results.results import Results, read_results, write_results
from synood.benchmark.results.tables import columns
from synood.cli.app import main
from synood.errors import InputError

QUALITY = {"synood": 2.6, "neglabel": 1.5, "jigsaw": 2.6, "unguided": 2.0}


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


def results_with(**run):
    scores = planted_scores(QUALITY)
    rows = rows_of(scores)
    listed = comparisons_to_json(comparisons_of(scores, rows))
    return Results({"comparisons": listed, "methods": methods_to_json(METHODS), **run}, rows)


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


def test_every_method_of_ours_is_held_against_plain_distances_in_a_sentence():
    plus = replace(SYNOOD, name="synood-plus", title="SynOOD plus")
    plain = replace(SYNOOD, name="nearest-image", title="1-NN (encoder)")
    made = {**planted_scores(QUALITY), plus.name: planted_scores({"synood": 2.0})["synood"],
            plain.name: planted_scores({"synood": 3.2})["synood"]}  # fmt: skip
    methods = (*METHODS, plus, plain)
    rows = rows_of(planted_scores(QUALITY))
    more = tuple(replace(row, method=m.name) for m in (plus, plain) for row in rows
                 if row.method == "synood")  # fmt: skip
    layout = columns(rows)
    compared = (
        *comparisons_of(made, rows),
        *compare("synood", ["nearest-image"], made, layout, resamples=40),
        *compare("synood-plus", ["neglabel", "synood", "nearest-image"], made, layout, 40),
    )
    summary = summarise_run((*rows, *more), compared, methods)
    alone = summarise_run(rows, comparisons_of(made, rows), METHODS)
    added = " SynOOD plus beats NegLabel by FPR95; clearly better are 1-NN (encoder)."
    assert summary.headline == alone.headline + added
    found = [finding for finding in summary.findings if finding.text.startswith("FPR95 gain of")]
    assert [finding.verdict for finding in found] == ["worse", "worse"]
    assert found[0].text.startswith("FPR95 gain of SynOOD in points, over 1-NN (encoder) −")
    assert found[1].text.startswith("FPR95 gain of SynOOD plus in points, over NegLabel +")
    assert found[1].text.count("SynOOD −") == 1
    assert ", 1-NN (encoder) −" in found[1].text


@pytest.mark.parametrize(
    ("first", "verdict"), [("synood", "better"), ("synood-plus", "better"), ("jigsaw", "worse")]
)
def test_being_best_is_good_whichever_recipe_of_ours_it_is(first, verdict):
    rows = rows_of(planted_scores({**QUALITY, "synood": 2.0, first: 4.0}))
    plus = replace(SYNOOD, name="synood-plus", title="SynOOD plus")
    best = rows_of(planted_scores({"synood": 4.0})) if first == plus.name else rows
    more = tuple(replace(row, method=plus.name) for row in best if row.method == "synood")
    compared = comparisons_of(planted_scores(QUALITY), rows)
    found = summarise_run((*rows, *more), compared, (*METHODS, plus)).findings[-1]
    title = {"synood": "SynOOD", "synood-plus": "SynOOD plus", "jigsaw": "jigsaw"}[first]
    assert found.text.startswith(f"Best on average in both metrics: {title}")
    assert found.verdict == verdict


def test_every_metric_has_its_unit(html):
    for block in ("AUROC", "FPR95", "FPR95 with OOD positive", "AUPR-in", "AUPR-out"):
        assert f"<caption>{block}, % <span>" in html
    for figure in re.findall(r"<dt>AUROC</dt><dd>([\d.]+ ?%?)", html):
        assert figure.endswith(" %")


def test_no_test_time_method_is_held_against_an_inductive_one(tmp_path):
    made = results_with()
    late = [replace(row, method="late", kind="test-time") for row in made.rows if row.seed == 0
            and row.method == "synood"]  # fmt: skip
    listed = [
        {"method": "late", "other": other, "metric": "auroc", "column": "average:all",
         "gain": 0.5, "low": 0.4, "high": 0.6}
        for other in ("neglabel", "late")
    ]  # fmt: skip
    run = {**made.run, "methods": [], "comparisons": listed}
    write_results(tmp_path / "results.json", Results(run, (*made.rows, *late)))
    report = load_report(tmp_path)
    assert [item.other for item in report.comparisons] == ["late"]


def test_many_findings_are_folded_and_those_of_synood_come_first(tmp_path):
    scores = dict.fromkeys(("msp", "energy", "mcm", "unguided", "synood"), 0.01)
    listed = [
        {"method": name, "other": other, "metric": "fpr95", "column": "average:all",
         "gain": gain, "low": gain - 0.02, "high": gain + 0.02}
        for name, gain in scores.items()
        for other in ("neglabel", "jigsaw", "energy")
    ]  # fmt: skip
    write_results(tmp_path / "results.json", results_with(comparisons=listed))
    report = load_report(tmp_path)
    texts = [finding.text for finding in report.summary.findings]
    assert texts[0].startswith("Best inductive methods on average: ")
    assert all(text.startswith("SynOOD against") for text in texts[1:4])
    html = render(report)
    assert html.index("4 more comparisons") < html.index(texts[-1])
    assert html.index(texts[11]) < html.index("4 more comparisons")


def test_gains_are_told_before_losses_and_synood_before_both(tmp_path):
    gains = {"msp": -0.3, "energy": 0.05, "mcm": 0.0, "unguided": 0.04, "synood": -0.1}
    listed = [
        {"method": name, "other": "neglabel", "metric": "fpr95", "column": "average:all",
         "gain": gain, "low": gain - 0.02, "high": gain + 0.02}
        for name, gain in gains.items()
    ]  # fmt: skip
    write_results(tmp_path / "results.json", results_with(comparisons=listed))
    findings = load_report(tmp_path).summary.findings[1:]
    assert [finding.text.split(" ")[0] for finding in findings] == [
        "SynOOD", "Energy", "unguided", "MCM", "MSP",
    ]  # fmt: skip


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
