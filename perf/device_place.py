"""What the parts of perf/device.py share: where they run, how they time and how they print."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GIGABYTE = 1e9


@dataclass(frozen=True)
class Place:
    """Where a part runs, how large, and until when (by `time.perf_counter`)."""

    device: str
    toy: bool
    end: float
    folder: Path

    @property
    def left(self) -> float:
        return self.end - time.perf_counter()


def say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)


def row(*cells: object) -> None:
    say(f"| {' | '.join(map(str, cells))} |")


def head(*cells: str) -> None:
    row(*cells)
    row(*["---"] * len(cells))


def seconds_of(work: Callable[[], object], device: str) -> float:
    """Wall time of `work`, until the device has done all of it."""
    synchronize(device)
    start = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: str) -> None:
    if torch.device(device).type != "cpu":
        torch.accelerator.synchronize(torch.device(device))
