"""results.json keeps what was measured, says what is wrong with it, and tables add nothing."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from figures import METHODS, SETS, planted_scores, rows_of
from synood.benchmark.results import tables
from synood.benchmark.results.results import (
    METRICS,
    Results,
    make_row,
    read_results,
    write_results,
)
from synood.benchmark.results.text import text_table
from synood.errors import InputError


@pytest.fixture(scope="module")
def rows():
    return rows_of(planted_scores({"synood": 2.0, "neglabel": 1.5}))


@pytest.fixture
def written(tmp_path, rows):
    path = tmp_path / "results.json"
    write_results(path, Results({"recipe": "paper", "seed": 0}, rows))
    return path


def test_a_row_holds_what_other_libraries_measure():
    rng = np.random.default_rng(1)
    ours, theirs = rng.normal(1, 1, 300), rng.normal(0, 1, 200)
    row = make_row("m", "inductive", "s", "near", 4, ours, theirs)
    truth = [1] * 300 + [0] * 200
    assert row.auroc == pytest.approx(roc_auc_score(truth, [*ours, *theirs]), abs=1e-6)
    kept = np.sort(ours)[15]
    assert row.fpr95 == pytest.approx((theirs >= kept).mean())
    assert (row.n_id, row.n_ood, row.seed) == (300, 200, 4)
    for metric in METRICS:
        low, high = row.ci95[metric]
        assert low <= row.value(metric) <= high
        assert high > low


def test_results_come_back_as_they_were_written(written, rows):
    read = read_results(written)
    assert read.rows == rows
    assert read.run == {"recipe": "paper", "seed": 0}


def test_equal_results_give_equal_bytes(tmp_path, written, rows):
    write_results(tmp_path / "again.json", Results({"recipe": "paper", "seed": 0}, rows))
    assert (tmp_path / "again.json").read_bytes() == written.read_bytes()


def test_the_file_has_the_documented_fields(written):
    value = json.loads(written.read_text())
    assert list(value) == ["schema", "run", "rows"]
    assert set(value["rows"][0]) == {
        "method", "kind", "ood_set", "group", "seed", "n_id", "n_ood", "auroc", "aupr_in",
        "aupr_out", "fpr95", "fpr95_ood_positive", "ci95",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("auroc", 84.1, "between 0 and 1"),
        ("auroc", True, "between 0 and 1"),
        ("fpr95", None, "between 0 and 1"),
        ("kind", "magic", "must be one of"),
        ("group", "id", "must be one of"),
        ("seed", -1, "whole number"),
        ("n_ood", 1.5, "whole number"),
        ("method", "", "must be a name"),
        ("ci95", {"auroc": [0, 1]}, "one [low, high] for each"),
        ("auorc", 0.5, "is not a field"),
    ],
)
def test_a_wrong_field_is_named(written, field, value, complaint):
    content = json.loads(written.read_text())
    content["rows"][3][field] = value
    written.write_text(json.dumps(content))
    with pytest.raises(InputError) as error:
        read_results(written)
    for part in (str(written), "row 3", repr(field), complaint):
        assert part in str(error.value)


@pytest.mark.parametrize("pair", [[0.9, 0.1], [0.1], [0.1, 1.2], "low"])
def test_a_wrong_interval_is_named(written, pair):
    content = json.loads(written.read_text())
    content["rows"][0]["ci95"]["fpr95"] = pair
    written.write_text(json.dumps(content))
    with pytest.raises(InputError, match="'ci95' of 'fpr95'"):
        read_results(written)


def test_a_missing_field_another_schema_and_a_repeat_are_refused(written):
    content = json.loads(written.read_text())
    repeated = {**content, "rows": [*content["rows"], content["rows"][0]]}
    shorter = {name: value for name, value in content["rows"][1].items() if name != "aupr_in"}
    for broken, complaint in (
        ({**content, "rows": [shorter]}, "'aupr_in' is missing"),
        ({"schema": 99}, "schema is 99"),
        ([], "top level"),
        ({"schema": 1, "run": {}}, "list `rows`"),
        (repeated, "two rows of"),
    ):
        written.write_text(json.dumps(broken))
        with pytest.raises(InputError, match=complaint):
            read_results(written)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40))
def test_the_interval_over_seeds_is_students(values):
    found = tables.estimate(values)
    assert found.seeds == len(values)
    assert found.mean == pytest.approx(sum(values) / len(values))
    variance = sum((v - found.mean) ** 2 for v in values) / (len(values) - 1)
    quantile = found.half_width / math.sqrt(variance / len(values)) if variance > 1e-12 else 2.0
    assert 1.9 < quantile < 13


def test_three_seeds_know_little_and_one_seed_nothing():
    # scipy.stats.t.ppf(.975, 2) = 4.302653; the standard error of 1, 2, 3 is 1 / sqrt(3)
    assert tables.estimate([1, 2, 3]).half_width == pytest.approx(4.302653 / math.sqrt(3), abs=1e-3)
    assert tables.estimate([0.841]).percent() == "84.1"
    with pytest.raises(InputError):
        tables.estimate([])


def test_averages_come_first_and_cover_their_groups(rows):
    layout = tables.columns(rows)
    assert [c.key for c in layout] == ["average:all", "average:near", "average:far", *SETS]
    assert layout[1].sets == ("other animals", "tools")
    assert layout[0].sets == tuple(SETS)


def test_an_average_is_taken_within_each_seed_first(rows):
    column = tables.columns(rows)[0]
    found = tables.aggregate(rows, "synood", column, "fpr95")
    by_seed = [
        np.mean([r.fpr95 for r in rows if (r.method, r.seed) == ("synood", s)]) for s in range(3)
    ]
    assert found.mean == pytest.approx(np.mean(by_seed))
    assert found.half_width == pytest.approx(4.303 * np.std(by_seed, ddof=1) / math.sqrt(3))


def test_a_seed_that_lacks_a_set_is_not_averaged_over(rows):
    fewer = [r for r in rows if (r.method, r.seed, r.ood_set) != ("synood", 1, "tools")]
    with pytest.raises(InputError, match="synood under seed 1 lacks the OOD set 'tools'"):
        tables.aggregate(fewer, "synood", tables.columns(rows)[0], "auroc")


def test_best_knows_which_way_a_metric_points_and_shares_ties(rows):
    assert tables.best(tables.table(rows, "auroc"), "auroc")["average:all"] == {"synood"}
    assert tables.best(tables.table(rows, "fpr95"), "fpr95")["average:all"] == {"synood"}
    twin = [replace(r, method="twin") for r in rows if r.method == "synood"]
    cells = tables.table([*rows, *twin], "auroc")
    assert tables.best(cells, "auroc")["tools"] == {"synood", "twin"}


def test_the_text_table_shows_every_method_and_set_in_percent(rows):
    text = text_table(rows, {method.name: method.title for method in METHODS})
    above, below = text.split("\n\n")
    assert above.startswith("AUROC")
    assert below.startswith("FPR95")
    for block, metric in ((above, "auroc"), (below, "fpr95")):
        line = next(line for line in block.splitlines() if line.startswith("SynOOD"))
        shown = tables.table(rows, metric)["synood"]["average:all"]
        assert f"{100 * shown.mean:.1f} ±{100 * shown.half_width:.1f}*" in line
        assert len({len(line) for line in block.splitlines()[3:]}) <= 3  # aligned
        for method in METHODS:
            assert method.title in block
