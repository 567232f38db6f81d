"""How long work reports its progress: what a caller passes in, and what a stage calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

StageProgress: TypeAlias = Callable[[int, int, str], None]
"""Called with (done, total, message) after each batch of a stage."""


class Progress(Protocol):
    """Progress of a run, as a caller receives it."""

    def __call__(self, stage: str, done: int, total: int, message: str) -> None:
        """Note that `done` of `total` parts of `stage` are finished; `message` may be empty."""


class Tracker(Protocol):
    """What receives the figures of a run: trackio, wandb, or an object of one's own."""

    @property
    def init(self) -> Callable[..., object]:
        """Begin a run: `project`, `name` and `config`, a dictionary of JSON values."""

    @property
    def log(self) -> Callable[..., object]:
        """Take a dictionary of names and numbers."""

    @property
    def finish(self) -> Callable[..., object]:
        """End the run, whether it came to its end or not."""


def no_run_progress(stage: str, done: int, total: int, message: str) -> None:
    """Ignore the progress of a run: the default `Progress`."""


def no_progress(done: int, total: int, message: str = "") -> None:
    """Ignore the progress of a stage."""
