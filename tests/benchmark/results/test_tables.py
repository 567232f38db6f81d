"""Test-time methods and published figures stand apart in every form of a table."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from figures import METHODS, planted_scores, rows_of
from synood.benchmark.protocol.methods import titles
from synood.benchmark.report import writing
from synood.benchmark.results import tables
from synood.benchmark.results.published import Published
from synood.benchmark.results.text import text_table

TITLES = {**titles(METHODS), "adaneg": "AdaNeg", "late": "Late"}


@pytest.fixture(scope="module")
def rows():
    """Inductive rows, and two test-time methods: one above all others, one below."""
    inductive = rows_of(planted_scores({"synood": 2.0, "neglabel": 1.5}))
    return (
        *inductive,
        *(
            replace(
                row, method=name, kind="test-time", auroc=auroc, fpr95=1 - auroc,
                stream={"order": "shuffled", "seed": row.seed, "images": 10},
            )
            for name, auroc in (("adaneg", 0.999), ("late", 0.001))
            for row in inductive
            if row.method == "synood"
        ),
    )  # fmt: skip


def test_the_best_of_a_kind_is_chosen_among_that_kind(rows):
    inductive, test_time = tables.groups(rows, "auroc", TITLES)
    alone = tables.groups([row for row in rows if row.kind == "inductive"], "auroc", TITLES)
    assert inductive == alone[0]
    assert [line.title for line in test_time.lines] == ["AdaNeg", "Late"]
    assert [all(line.best) for line in test_time.lines] == [True, False]
    assert test_time.note.endswith("order shuffled, seeds 0, 1, 2.")
    assert inductive.note == ""


def test_text_has_a_block_of_test_time_methods_under_the_others(rows):
    text = text_table(rows, TITLES)
    first, second, *_ = text.split("\n\n")
    assert "SynOOD" in first
    assert "AdaNeg" not in first
    assert "test-time" in second.splitlines()[0]
    assert "SynOOD" not in second
    assert second.count("*") == len(tables.shown_columns(rows))


def test_markdown_has_a_table_of_test_time_methods(rows):
    first, second = writing.markdown(rows, TITLES, "fpr95").split("test-time methods")
    assert "AdaNeg" not in first
    assert re.search(r"\| AdaNeg \| \*\*0\.1", second)
    assert "SynOOD" not in second
    assert "order shuffled" in second


def test_latex_has_a_rule_and_a_heading_above_test_time_methods(rows):
    text = writing.latex(rows, TITLES, "auroc")
    first, second = text.split(r"\emph{Test-time methods")
    assert first.rstrip().splitlines()[-2] == r"\midrule"
    assert "AdaNeg" not in first
    assert "SynOOD" not in second
    assert text.count(r"\midrule") == 2


def test_published_figures_have_their_own_line_and_are_never_the_best(rows):
    printed = Published("b", "synood", "average:all", 0.99994, None, "id-positive", "a paper")
    (group, _) = tables.groups(rows, "auroc", TITLES, [printed])
    places = [line.title for line in group.lines]
    line = group.lines[places.index("SynOOD") + 1]
    assert line.title == "SynOOD, published"
    assert line.texts == ("99.99", *"-" * (len(line.texts) - 1))
    assert not any(line.best)
    without = tables.groups(rows, "auroc", TITLES)[0]
    assert [one for one in group.lines if not one.published] == list(without.lines)
    assert "99.99" not in text_table(rows, TITLES, [printed], ["fpr95"])
    for text in (
        writing.markdown(rows, TITLES, "auroc", [printed]),
        writing.latex(rows, TITLES, "auroc", [printed]),
    ):
        assert "SynOOD, published" in text
