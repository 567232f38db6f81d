"""Functions timed in turn: the least of the counted runs, each beside the others."""

from __future__ import annotations

from typing import get_args

import pytest

from synood.benchmark.speed.rows import LONG, ROWS, chosen
from synood.benchmark.speed.timing import Timed, compare
from synood.benchmark.speed.tuning import tuning, tuning_in_full
from synood.cli.bench import Row


class Clock:
    """Seconds that pass only where a function spends them."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def spending(self, name, seconds, called):
        left = iter(seconds)

        def work():
            called.append(name)
            self.now += next(left)

        return work


def test_the_least_of_the_runs_counts_and_the_first_run_does_not():
    clock, called = Clock(), []
    functions = {
        "ours": clock.spending("ours", [0.001, 4, 2, 3], called),
        "peer": clock.spending("peer", [9, 5, 8, 7], called),
    }
    assert compare(functions, 3, clock) == pytest.approx({"ours": 2_000, "peer": 5_000})
    assert called == ["ours", "peer"] * 4  # in turn


def test_a_cold_run_counts():
    clock, called = Clock(), []
    functions = {"ours": clock.spending("ours", [0.5], called)}
    assert compare(functions, 1, clock, warm=False) == pytest.approx({"ours": 500})


def test_a_ratio_is_how_many_times_as_long_as_the_peer_ours_takes():
    timed = Timed("row", "what", 3.0, {"slow": 6.0, "too short for the clock": 0.0})
    assert timed.ratio("slow") == 0.5
    assert timed.ratio("too short for the clock") is None
    assert Timed("row", "what", None, {"peer": 2.0}).ratio("peer") is None


def test_every_row_can_be_asked_for():
    assert get_args(Row) == tuple(ROWS)


def test_long_rows_are_measured_where_they_are_asked_for():
    assert set(ROWS) - set(chosen()) == LONG == {"ray"}
    assert list(chosen(full=True)) == list(ROWS)
    assert list(chosen(["ray", "decode"])) == ["ray", "decode"]


def test_all_steps_of_tuning_are_measured_in_full():
    assert chosen(["tuning"]) == {"tuning": tuning}
    assert chosen(["tuning"], full=True) == {"tuning": tuning_in_full}
