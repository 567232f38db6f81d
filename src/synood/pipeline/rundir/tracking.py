"""Following a run with a tracker - trackio, wandb or the like - which never stops it.

A tracker is a module or an object with `init(project=, name=, config=)`, `log(values)` and
`finish()`. What it raises ends the tracking, with one remark, and not the run.
"""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from synood.progress import Tracker

PROJECT = "synood"
POINTS = 200  # of a curve of losses at most, however many steps


def find_tracker(tracker: Tracker | str) -> Tracker:
    """Return a tracker; one given by name is the module of that name.

    Raises `InputError` for a module that cannot be imported, or is no tracker.
    """
    found: Any = tracker
    if isinstance(tracker, str):
        try:
            found = import_module(tracker)
        except (ImportError, ValueError, TypeError) as error:  # of a name that is none, the others
            raise InputError(
                f"tracker {tracker!r}: cannot be imported ({error}); is it installed?"
            ) from None
    missing = [name for name in ("init", "log", "finish") if not callable(getattr(found, name, 0))]
    if missing:
        raise InputError(
            f"tracker {tracker!r}: has no function {missing[0]!r}; give trackio, wandb, or an "
            "object with init, log and finish"
        )
    checked: Tracker = found
    return checked


class Tracking:
    """Figures of one run on their way to its tracker, or to nowhere."""

    def __init__(self, tracker: Tracker | None, on_failure: Callable[[str], None]) -> None:
        self._tracker = tracker
        self._on_failure = on_failure
        self._percents: dict[str, int] = {}

    def open(self, name: str, config: Mapping[str, Any]) -> None:
        """Begin a run of the project `PROJECT`."""
        self._call("init", project=PROJECT, name=name, config=dict(config))

    def progress(self, stage: str, done: int, total: int) -> None:
        """Log the fraction of a stage that is done, when its whole per cents change."""
        if total and self._percents.get(stage) != (percent := 100 * done // total):
            self._percents[stage] = percent
            self.log({f"{stage}/done": done / total})

    def loss(self, stage: str, step: int, steps: int, loss: float) -> None:
        """Log the loss of a step; of very many steps, evenly spaced ones and the last."""
        if step == steps or step % max(1, steps // POINTS) == 0:
            self.log({f"{stage}/loss": loss, f"{stage}/step": step})

    def log(self, values: Mapping[str, float]) -> None:
        """Log numbers by name."""
        self._call("log", dict(values))

    def close(self) -> None:
        """End the run."""
        self._call("finish")

    def _call(self, name: str, /, *values: object, **options: object) -> None:
        if self._tracker is None:
            return
        try:
            getattr(self._tracker, name)(*values, **options)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - others' code must not stop a run
            self._tracker = None
            said = " ".join(str(error).split()) or "no reason"
            self._on_failure(
                f"the run tracker failed in {name} ({type(error).__name__}: {said}); the run goes "
                "on without it"
            )


NOT_TRACKED = Tracking(None, lambda _: None)


@contextmanager
def tracked(tracking: Tracking, name: str, config: Mapping[str, Any]) -> Iterator[Tracking]:
    """Open `tracking`, and close it however the block ends."""
    tracking.open(name, config)
    try:
        yield tracking
    finally:
        tracking.close()
