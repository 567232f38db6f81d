"""The progress of a run, read from its files alone: nothing is locked, loaded or changed."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from synood.errors import InputError
from synood.files import readable
from synood.pipeline.rundir.lock import Holder, holder
from synood.pipeline.rundir.workspace import STAGES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

State = Literal["running", "done", "failed", "stopped", "killed", "elsewhere"]
_OF_SOME_RUNS = {"probe"}
_ENDS: dict[str, State] = {"done": "done", "failed": "failed", "stopped": "stopped"}


@dataclass(frozen=True)
class StageStatus:
    """The progress of one stage; `total` is None where it is not known yet."""

    name: str
    done: int
    total: int | None
    state: Literal["done", "begun", "waiting"]


@dataclass(frozen=True)
class Status:
    """The progress of a run.

    `state` is "elsewhere" when a process on another machine holds the lock: whether it is alive
    cannot be seen from here. `seconds_left` is an estimate for the current stage from its pace
    since the last start; `painted` counts the synthetic images.
    """

    run: str
    state: State
    process: Holder | None
    stages: tuple[StageStatus, ...]
    described: int
    painted: int
    seconds_left: float | None
    quarantined: dict[str, int] = field(default_factory=dict)  # stage -> images
    last_error: str | None = None
    last_event: str | None = None  # time of day, ISO 8601

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def read_status(root: Path, now: datetime | None = None) -> Status:
    """Read the status of the run in `root`, running or not.

    Raises `InputError` where no run was ever started.
    """
    events = list(_rows(root / "events.jsonl"))
    if not events:
        run = root.absolute().parent
        hint = f"; its run is {readable(run)}" if (run / "events.jsonl").is_file() else ""
        raise InputError(f"{readable(root)}: not a run directory (it has no events.jsonl){hint}")
    session = _since_start(events)
    who = holder(root)
    alive = who.state() if who else "gone"
    ended = [_ENDS[row["event"]] for row in session if row.get("event") in _ENDS]
    state: State = alive if alive != "gone" else ended[-1] if ended else "killed"
    progress = [row for row in session if row.get("event") == "progress"]
    errors = [str(row.get("error")) for row in events if row.get("event") == "failed"]
    return Status(
        run=readable(root),
        state=state,
        process=who if alive != "gone" else None,
        stages=_stages(progress, state == "done"),
        described=sum(1 for _ in _rows(root / "describe.jsonl")),
        painted=sum(1 for rows in _shards(root) for _ in _rows(rows)),
        seconds_left=_seconds_left(progress, now or datetime.now(UTC)) if alive != "gone" else None,
        quarantined=dict(Counter(row.get("stage", "") for row in _rows(root / "quarantine.jsonl"))),
        last_error=errors[-1] if errors else None,
        last_event=events[-1].get("time"),
    )


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSONL file up to the first incomplete line."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                row = json.loads(line)
                if isinstance(row, dict):
                    yield row
    except (OSError, ValueError):
        return


def _shards(root: Path) -> list[Path]:
    return sorted((root / "synthesize").glob("[!.]*/rows.jsonl"))


def _since_start(events: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    starts = [number for number, row in enumerate(events) if row.get("event") == "start"]
    return events[starts[-1] :] if starts else events


def _stages(progress: Sequence[dict[str, Any]], finished: bool) -> tuple[StageStatus, ...]:
    """Return the stages in their order: those in the log, then those to come."""
    last = {row["stage"]: (int(row["done"]), int(row["total"])) for row in progress}
    to_come = (
        ()
        if finished
        else [name for name in STAGES if name not in last and name not in _OF_SOME_RUNS]
    )
    begun = [
        StageStatus(name, done, total, "done" if done >= total else "begun")
        for name, (done, total) in last.items()
    ]
    return (*begun, *(StageStatus(name, 0, None, "waiting") for name in to_come))


def _seconds_left(progress: Sequence[dict[str, Any]], now: datetime) -> float | None:
    """Estimate the seconds that the current stage still needs; None while there is no pace yet."""
    if not progress or progress[-1]["done"] >= progress[-1]["total"]:
        return None
    own = [row for row in progress if row["stage"] == progress[-1]["stage"]]
    first, last = own[0], own[-1]
    seconds = (_time(last) - _time(first)).total_seconds()
    done = last["done"] - first["done"]
    if done <= 0 or seconds <= 0:
        return None
    left: float = (last["total"] - last["done"]) * seconds / done
    since = (now - _time(last)).total_seconds()
    return round(max(0.0, left - since), 1)


def _time(row: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(row["time"])
