"""The run directory itself: its lock and its event log."""

from __future__ import annotations

import errno
import json
import shutil
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from synood.errors import InputError
from synood.images.remote import local_path
from synood.pipeline.rundir.lock import locked
from synood.pipeline.rundir.tracking import NOT_TRACKED, Tracking
from synood.progress import no_run_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from synood.progress import Progress, StageProgress, Tracker

STAGES = (
    "select",
    "features",
    "mine",
    "probe",
    "describe",
    "synthesize",
    "embed",
    "projection",
    "negatives",
)
HEARTBEAT = 10.0  # seconds between two lines of progress in the event log
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


class Workspace:
    """A run directory that only this process may write to."""

    def __init__(self, root: Path, progress: Progress | None = None) -> None:
        self.root = root
        self._progress = progress or no_run_progress
        self._logged: dict[str, tuple[int, int]] = {}
        self._beat = 0.0
        self.tracking: Tracking = NOT_TRACKED
        self.watch: Callable[[], None] | None = None  # called after every line of the log

    def stage(self, name: str) -> StageProgress:
        """Return the function that a stage reports its progress to: (done, total, message)."""

        def progress(done: int, total: int, message: str = "") -> None:
            self._log_progress(name, done, total)
            self._progress(name, done, total, message)
            self.tracking.progress(name, done, total)

        return progress

    def follow_with(self, tracker: Tracker | None) -> Tracking:
        """Return the tracking of this run; a tracker that fails is told of once."""
        if tracker is not None:
            self.tracking = Tracking(tracker, lambda reason: self.notify("tracker", reason))
        return self.tracking

    def _log_progress(self, stage: str, done: int, total: int) -> None:
        """Log a stage's start and end, and its progress every `HEARTBEAT` seconds."""
        before, now = self._logged.get(stage), time.monotonic()
        late = now - self._beat > HEARTBEAT
        if before != (done, total) and (before is None or done == total or late):
            self._logged[stage], self._beat = (done, total), now
            self.log("progress", stage=stage, done=done, total=total)

    def notify(self, stage: str, message: str, **details: object) -> None:
        """Report a notice to the user and log it."""
        self._progress(stage, 0, 0, message)
        self.log("notice", stage=stage, message=message, **details)

    def log(self, event: str, **details: object) -> None:
        """Append one line to events.jsonl, the only file that carries the time of day."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        row: dict[str, Any] = {"time": now, "event": event, **details}
        with (self.root / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        if self.watch is not None and event != "notice":
            self.watch()


@contextmanager
def open_run(root: Path, progress: Progress | None = None) -> Iterator[Workspace]:
    """Create `root`, lock it for this process, and remove what a killed run left half written.

    Raises `InputError` when another process holds it, or when the directory cannot be written to,
    is full or holds other things.
    """
    _refuse_foreign(local_path(root))
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{root}: cannot be used as a run directory ({error.strerror})") from None
    try:
        with locked(root):
            _sweep(root)
            try:
                yield Workspace(root, progress)
            except InputError:
                _forget_if_unused(root)
                raise
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise InputError(
            f"{error.filename or root}: cannot be written ({error.strerror}); what is finished is "
            "kept, and the same call resumes from there"
        ) from error


def _refuse_foreign(root: Path) -> None:
    """Refuse a directory with files in it that no run has made: they may be somebody's images."""
    if root.exists() and not root.is_dir():
        raise InputError(f"{root}: is a file; --out must name a directory")
    if not root.is_dir() or (root / ".lock").exists():
        return
    if any(not path.name.startswith(".") for path in root.iterdir()):
        raise InputError(
            f"{root}: is not empty and not a run directory; name a new or an empty one"
        )


def _forget_if_unused(root: Path) -> None:
    """Remove a run directory in which nothing was made: its input was refused at the start."""
    if {path.name for path in root.iterdir()} <= {".lock", ".lock.json", "events.jsonl"}:
        shutil.rmtree(root)


def _sweep(root: Path) -> None:
    """Remove the unfinished files and directories of an earlier process, and half a log line."""
    controls = sorted((root / "controls").glob("[!.]*/"))  # of a demo
    labels = sorted((root / "label-images").glob("[!.]*/"))
    for folder in (root, root / "features", root / "synthesize", *labels, *controls):
        for leftover in sorted([*folder.glob(".*.part"), *folder.glob(".*.old")]):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    events = root / "events.jsonl"
    if events.exists():
        text = events.read_bytes()
        if not text.endswith(b"\n"):
            events.write_bytes(text[: text.rfind(b"\n") + 1])
