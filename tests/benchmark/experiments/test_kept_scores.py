"""An interrupted table goes on where it was, and never from scores of something else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from staging import furnished, staged
from synood.benchmark.experiments import find_experiment, kept_scores
from synood.benchmark.protocol import scoring
from synood.benchmark.results.published import NOT_BUILT, Published, published, published_alone
from synood.benchmark.systems import find_system
from synood.cli.app import main

NAMES = ("neglabel", "adaneg", "locoop-style")
EVERYTHING = ["neglabel 0", "adaneg 0", "adaneg 1", "locoop-style 0", "locoop-style 1"]


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    found = staged(furnished(tmp_path_factory.mktemp("kept")))
    return replace(found, systems=NAMES)


@pytest.fixture
def counted(monkeypatch):
    """The systems and seeds that are really scored, and those at which the process dies."""
    scored, killers, original = [], set(), scoring.score_system

    def score(system, inputs, encoded, seeds):
        scores = [f"{system.method.name} {seed}" for seed in seeds]
        if killers.intersection(scores):
            raise KeyboardInterrupt
        scored.extend(scores)
        return original(system, inputs, encoded, seeds)

    monkeypatch.setattr(scoring, "score_system", score)
    return scored, killers


def table(setup):
    return find_experiment("table-1").run(setup)


def emptied(setup):
    for path in (setup.workspace.root / "scores").glob("*"):
        path.unlink()


def test_a_table_killed_on_the_way_scores_only_what_is_missing(setup, counted):
    emptied(setup)
    scored, killers = counted
    killers.add("locoop-style 1")
    with pytest.raises(KeyboardInterrupt):
        table(setup)
    assert scored == ["neglabel 0", "adaneg 0", "adaneg 1", "locoop-style 0"]
    scored.clear()
    killers.clear()
    resumed = table(setup)
    assert scored == ["locoop-style 1"]
    emptied(setup)
    whole = table(setup)
    assert resumed == whole
    assert {row.method for row in whole.rows} == set(NAMES)
    assert all((row.stream is not None) == (row.method == "adaneg") for row in whole.rows)
    assert whole.details["chosen"]["locoop-style"]["tried"]


def test_scores_of_something_else_are_not_taken(setup, counted, monkeypatch):
    scored, _ = counted
    table(setup)
    scored.clear()
    table(setup)
    assert scored == []
    test = setup.encoded.test
    other = replace(test, features=test.features + np.float32(1e-3))
    changes = (
        replace(setup, encoded=replace(setup.encoded, test=other)),
        replace(setup, inputs=replace(setup.inputs, outlier_names=("kiln",))),
    )
    for changed in changes:
        scored.clear()
        table(changed)
        assert scored == EVERYTHING
    monkeypatch.setattr(kept_scores, "_code", lambda: "of another version")
    scored.clear()
    table(setup)
    assert scored == EVERYTHING


def test_more_seeds_are_added_to_those_that_are_there(setup, counted):
    emptied(setup)
    scored, _ = counted
    table(replace(setup, seeds=(0, 1)))
    scored.clear()
    more = replace(setup, seeds=(0, 1, 2))
    added = table(more)
    assert scored == ["adaneg 2", "locoop-style 2"]
    emptied(setup)
    assert table(more) == added


@pytest.mark.parametrize("damage", [b"", b"\xff" * 40, None])
def test_a_damaged_file_is_made_again(setup, counted, damage):
    scored, _ = counted
    first = table(setup)
    path = setup.workspace.root / "scores" / "neglabel-0.safetensors"
    path.write_bytes(path.read_bytes()[:-7] if damage is None else damage)
    scored.clear()
    assert table(setup) == first
    assert scored == ["neglabel 0"]


def test_a_slow_system_is_in_the_table_only_if_it_is_named_or_its_scores_are_there(
    setup, monkeypatch, counted
):
    assert find_system("locoop").slow
    only = (find_system("neglabel"), replace(find_system("adaneg"), slow=True))
    monkeypatch.setattr("synood.benchmark.systems.registry", lambda: only)
    emptied(setup)
    whole, named = replace(setup, systems=()), replace(setup, systems=("adaneg",))

    def is_left_out():
        outcome = table(whole)
        (note,) = outcome.notes
        assert "AdaNeg is not in the table" in note
        assert "--systems adaneg" in note
        return [method.name for method in outcome.methods] == ["neglabel"]

    assert is_left_out()
    table(replace(named, seeds=(0,)))
    assert is_left_out()
    table(named)
    scored, _ = counted
    scored.clear()
    outcome = table(whole)
    assert [method.name for method in outcome.methods] == ["neglabel", "adaneg"]
    assert not outcome.notes
    assert not scored


def test_a_choice_of_systems_is_checked_before_any_work(tmp_path, capsys):
    out = ("--out", str(tmp_path / "out"))
    assert main(["reproduce", "table-1", "--systems", "neglabel", "nonsense", *out]) == 2
    assert "system 'nonsense' is unknown" in capsys.readouterr().err
    assert main(["reproduce", "table-4", "--systems", "neglabel", *out]) == 2
    assert "--systems: chooses rows of table-1 and table-2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_published_figures_without_a_row_are_of_systems_that_are_not_built():
    from synood.benchmark.systems import registry

    built = {system.method.name for system in registry()}
    for benchmark in ("imagenet-4", "openood", "clean", "imagenet-near"):
        alone = published_alone(benchmark)
        assert {row.method for row in alone} <= NOT_BUILT.keys()
        assert {row.method for row in published(benchmark)} <= built | NOT_BUILT.keys()
    assert not built & NOT_BUILT.keys()


def test_figures_of_released_code_stand_below_the_row_that_runs_it():
    (plain, both) = (
        {row.method for row in published("imagenet-4", names)}
        for names in (["neglabel", "csp"], ["neglabel", "neglabel-released", "csp"])
    )
    assert plain == {"neglabel", "csp"}
    assert both == {"neglabel-released", "csp"}


def test_a_table_ends_with_published_figures_of_systems_that_are_not_built(setup):
    from synood.benchmark.results.tables import groups
    from synood.benchmark.results.text import source_lines

    rows = table(setup).rows
    printed = [
        Published("b", "cover", "average:all", 0.9245, None, "id-positive", "a paper"),
        Published("b", "ttl", "average:all", 0.9729, None, "id-positive", "a note"),
    ]
    inductive, test_time = groups(rows, "auroc", {}, printed)
    assert (inductive.lines[-1].title, inductive.lines[-1].texts[0]) == (
        "CoVer, published",
        "92.45",
    )
    assert test_time.lines[-1].title == "TTL, published"
    assert all(line.published for line in (inductive.lines[-1], test_time.lines[-1]))
    assert "  CoVer: a paper" in source_lines(printed, {})[0]
