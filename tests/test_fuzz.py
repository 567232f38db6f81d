"""Whatever bytes a file from outside holds: it is read, or one line says what is wrong with it."""

from __future__ import annotations

import json
import os
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzzing.damage import as_bytes, damaged, restructured
from fuzzing.doors import doors, push

DOORS = doors()
JSON = sorted(
    name for name, door in DOORS.items() if door.target.endswith((".json", ".jsonl"))
)  # fmt: skip
QUICK = settings(
    max_examples=int(os.environ.get("SYNOOD_FUZZ_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    """A folder with valid files behind each door."""
    made = {}
    for name, door in DOORS.items():
        made[name] = tmp_path_factory.mktemp("door")
        door.make(made[name])
    return made


@pytest.fixture
def room(rooms, name):
    folder, target = rooms[name], DOORS[name].target
    valid = (folder / target).read_bytes()
    yield folder, valid
    (folder / target).write_bytes(valid)


@pytest.mark.parametrize("name", sorted(DOORS))
def test_the_valid_example_opens(room, name):
    folder, valid = room
    assert push(DOORS[name], folder, valid) == ""


@pytest.mark.parametrize("name", sorted(DOORS))
def test_damaged_bytes_open_or_are_refused_in_one_line(room, name):
    folder, valid = room

    @QUICK
    @given(damaged(valid))
    def check(data):
        start = time.process_time()
        push(DOORS[name], folder, data)
        assert time.process_time() - start < 5, "a few bytes must not keep a processor busy"

    check()


@pytest.mark.parametrize("name", JSON)
def test_valid_json_of_another_shape_opens_or_is_refused(room, name):
    folder, valid = room
    lines = [json.loads(line) for line in valid.splitlines()] if name_is_lines(name) else None

    @QUICK
    @given(st.data())
    def check(data):
        if lines is None:
            changed = as_bytes(data.draw(restructured(json.loads(valid))))
        else:
            rows = data.draw(restructured(lines))
            rows = rows if isinstance(rows, list) else [rows]
            changed = b"".join(as_bytes(row) + b"\n" for row in rows)
        push(DOORS[name], folder, changed)

    check()


def name_is_lines(name):
    return DOORS[name].target.endswith(".jsonl")
