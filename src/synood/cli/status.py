"""`synood status`: how far a run is."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path  # noqa: TC003 - the command line reads the annotations
from typing import TYPE_CHECKING, Literal

from synood.cli.console import deliver, table_text

if TYPE_CHECKING:
    from synood.pipeline.rundir.status import Status


def status(run: Path, /, *, format: Literal["text", "json"] = "text") -> None:
    """Show the progress of a run, its skipped images and whether a process is working on it.

    Only files are read, so this is safe while the run is active, also from another machine.

    Parameters
    ----------
    run
        Directory of the run.
    format
        Format of the output.
    """
    from synood.pipeline.rundir.status import read_status

    found = read_status(run)
    text = _text(found) if format == "text" else json.dumps(found.to_json(), indent=2) + "\n"
    deliver(text)


def _text(found: Status) -> str:
    cells = [["stage", "done", "of", ""]]
    for stage in found.stages:
        done = "" if stage.total is None else f"{stage.done:,}"
        total = "" if stage.total is None else f"{stage.total:,}"
        cells.append([stage.name, done, total, stage.state])
    lines = [f"{found.run}: {_state(found)}"]
    if found.seconds_left is not None:
        left = timedelta(seconds=round(found.seconds_left))
        lines.append(f"about {left} left for the current stage (later stages not counted)")
    lines.append(f"{found.described:,} images described, {found.painted:,} synthesized")
    out = sum(found.quarantined.values())
    stages = ", ".join(f"{count:,} at {name}" for name, count in found.quarantined.items())
    if out:
        lines.append(f"{out:,} images skipped ({stages}), see quarantine.jsonl")
    if found.last_error and found.state != "done":
        lines.append(f"last error: {found.last_error}")
    lines.append(f"last event: {found.last_event}")
    return "\n".join(lines) + "\n\n" + table_text(cells)


def _state(found: Status) -> str:
    if found.process is None:
        ended = {"killed": "killed", "stopped": "stopped by a signal"}
        again = "" if found.state == "done" else "; run the same command again to resume"
        return ended.get(found.state, found.state) + again
    where = f"process {found.process.pid} on {found.process.host}"
    if found.state == "running":
        return f"running, {where}"
    return f"held by {where}, or killed there (only that machine can tell)"
