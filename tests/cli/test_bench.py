"""`synood bench`: rows with both sides, their ratio and the load."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from synood.cli.app import main
from synood.cli.bench import Row


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """The command sets the environment of the processes that it starts; put it back."""
    for name in ("OMP_NUM_THREADS", "SYNOOD_CACHE_SIZE"):
        monkeypatch.setenv(name, "1" if name == "OMP_NUM_THREADS" else "0")


def test_rows_as_json_have_both_sides_and_the_load(capsys):
    wanted = ["--only", "metrics", "--only", "decode", "--only", "selection", "--only", "imglist"]
    assert main(["bench", *wanted, "--runs", "1", "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [row["row"] for row in record["rows"]] == ["metrics", "decode", "selection", "imglist"]
    assert record["threads"] == record["runs"] == 1
    assert len(record["load"]) == 2
    for row in record["rows"]:
        assert row["cpu_ms"] > 0
        assert row["peers"] or row["missing"]
        for peer in row["peers"].values():
            assert peer["ratio"] == pytest.approx(row["cpu_ms"] / peer["cpu_ms"])


def test_the_table_names_the_peer_and_its_ratio(capsys):
    assert main(["bench", "--only", "decode", "--runs", "1"]) == 0
    shown = capsys.readouterr()
    assert "Pillow, decoding alone" in shown.out
    assert "1 thread(s), load" in shown.out
    assert shown.err == "bench: decode\n"


@pytest.mark.parametrize("option", ["--threads", "--runs"])
def test_numbers_below_one_are_refused(option, capsys):
    assert main(["bench", option, "0"]) == 2
    assert "must be at least 1" in capsys.readouterr().err


def test_a_row_without_its_extra_is_no_failure(monkeypatch, capsys):
    monkeypatch.setattr("synood.benchmark.speed.executors.find_spec", lambda name: None)
    assert main(["bench", "--only", "ray", "--runs", "1"]) == 0
    shown = capsys.readouterr().out
    assert "the extra ray (not installed)" in shown
    assert main(["bench", "--only", "ray", "--runs", "1", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["cpu_ms"], row["missing"]) == (None, ["the extra ray"])


@pytest.mark.slow
def test_every_row_is_measured(capsys):
    wanted = [word for row in get_args(Row) for word in ("--only", row)]
    assert main(["bench", *wanted, "--runs", "1", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["row"] for row in rows} == set(get_args(Row))
    for row in rows:
        assert row["missing"] or (row["cpu_ms"] > 0 and (row["peers"] or row["row"] == "start"))
