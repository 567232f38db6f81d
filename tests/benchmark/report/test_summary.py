"""What the page says of the figures: whom it holds against whom, and in which order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from figures import METHODS, QUALITY, comparisons_of, planted_scores, results_with, rows_of
from synood.benchmark.protocol.methods import SYNOOD
from synood.benchmark.report.page import load_report
from synood.benchmark.report.report import render
from synood.benchmark.report.summary import summarise_run
from synood.benchmark.results.comparisons import compare
from synood.benchmark.results.results import Results, write_results
from synood.benchmark.results.tables import columns


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
