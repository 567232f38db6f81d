"""Unreadable images: skipped and listed in quarantine.jsonl, up to a tolerated fraction.

A worker returns an `Unreadable` instead of an image's result. The run lists the image, skips it in
all later stages, and goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from synood.errors import InputError
from synood.features.unreadable import Unreadable
from synood.files import read_jsonl, readable, write_jsonl

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from synood.pipeline.rundir.workspace import Workspace

T = TypeVar("T")
Stage = Literal["select", "describe", "synthesize", "embed"]
STAGES: tuple[Stage, ...] = ("select", "describe", "synthesize", "embed")
FILE = "quarantine.jsonl"
MAX_BAD = 0.05
_OUTCOMES = {"select": "not chosen", "embed": "left out of the tuning"}
_ELSE = "left out from this stage on"


@dataclass(frozen=True)
class BadImage:
    """An image to skip, and why."""

    id: str
    path: Path
    reason: str


class _Item(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def path(self) -> Path: ...


def bad_images(items: Sequence[_Item], results: Sequence[object]) -> list[BadImage]:
    """Return the items whose result is `Unreadable`, with the reasons."""
    return [
        BadImage(item.id, item.path, result.reason)
        for item, result in zip(items, results, strict=True)
        if isinstance(result, Unreadable)
    ]


class OnBadImages(Protocol):
    """Called with images that cannot be used."""

    def __call__(self, stage: Stage, bad: Sequence[BadImage]) -> None:
        """Note them, or raise an `InputError` where the work cannot go on without them."""


def refuse(stage: Stage, bad: Sequence[BadImage]) -> None:
    """Raise the first image's reason: for work that needs every image."""
    if bad:
        raise InputError(bad[0].reason)


class Quarantine:
    """The images that a run skips; RUN/quarantine.jsonl lists them.

    `max_bad` is the fraction to tolerate: of the listed images while images are selected, of the
    selected ones afterwards. A single image stops a run only where `max_bad` is 0.
    """

    def __init__(self, workspace: Workspace, max_bad: float = MAX_BAD) -> None:
        if not 0 <= max_bad <= 1:
            raise InputError(f"max_bad: must be a fraction from 0 to 1, not {max_bad}")
        self._workspace = workspace
        self._path = workspace.root / FILE
        self._max_bad = max_bad
        self._rows: dict[tuple[str, str], dict[str, Any]] = {}
        self._inputs = ""
        self._listed = self._chosen = 0

    def begin(self, inputs: str, listed: int) -> None:
        """Start a selection among `listed` images; `inputs` is its fingerprint."""
        self._inputs, self._listed = inputs, listed
        self._rows = {}
        self._write()

    def resume(self, inputs: str, listed: int) -> None:
        """Restore what the selection `inputs` skipped; later stages find out again."""
        self._inputs, self._listed = inputs, listed
        rows = read_jsonl(self._path) if self._path.exists() else []
        own = [row for row in rows if row.get("inputs") == inputs and row["stage"] == "select"]
        self._rows = {("select", row["id"]): row for row in own}
        self._write()
        self._check("select")

    def chosen(self, count: int) -> None:
        """Set how many images were selected: later skips are a fraction of them."""
        self._chosen = count

    def __call__(self, stage: Stage, bad: Sequence[BadImage]) -> None:
        """List images; raises an `InputError` when they have become too many."""
        if self._max_bad == 0:
            refuse(stage, bad)
        for one in bad:
            if (stage, one.id) not in self._rows:
                self._rows[stage, one.id] = self._row(stage, one)
                self._workspace.notify(stage, f"skipped: {one.reason}", quarantined=one.id)
        if bad:
            self._write()
            self._check(stage)

    def without(self, images: Sequence[T], key: Callable[[T], str]) -> list[T]:
        """Return those of `images` that are not listed."""
        listed = {image_id for _, image_id in self._rows}
        return [image for image in images if key(image) not in listed]

    def _row(self, stage: Stage, bad: BadImage) -> dict[str, Any]:
        return {
            "id": bad.id,
            "path": readable(bad.path),
            "stage": stage,
            "reason": bad.reason,
            "outcome": _OUTCOMES.get(stage, _ELSE),
            "inputs": self._inputs,
        }

    def _write(self) -> None:
        """Write the rows in a fixed order, not that of their discovery; without rows, no file."""
        if self._rows:
            order = sorted(self._rows, key=lambda key: (STAGES.index(key[0]), key[1]))
            write_jsonl(self._path, [self._rows[key] for key in order])
        else:
            self._path.unlink(missing_ok=True)

    def _check(self, stage: Stage) -> None:
        choosing = stage == "select"
        reasons = [
            row["reason"] for row in self._rows.values() if (row["stage"] == "select") == choosing
        ]
        of = self._listed if choosing else self._chosen
        if len(reasons) > (max(1.0, self._max_bad * of) if self._max_bad else 0):
            raise InputError(
                f"{len(reasons)} of {of} images cannot be used, more than the {self._max_bad:.0%} "
                f"that --max-bad allows; {readable(self._path)} lists them, the first is "
                f"{reasons[0]}"
            )
