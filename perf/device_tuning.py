"""Both tunings of the paper's run, which compute on the processor whatever the device."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import torch
from device_place import Place, head, row, say

from synood.benchmark.speed.tuning import PAPER, TuningWork

if TYPE_CHECKING:
    from collections.abc import Callable

TOY = {"images": 600, "classes": 10, "negatives": 40, "dim": 64}


def tuning(place: Place) -> None:
    """Both tunings of the paper's run, which compute on the processor whatever the device."""
    size = TOY if place.toy else PAPER
    work = TuningWork.random(**size)
    texts = size["classes"] + size["negatives"]
    say(
        "",
        "## Tuning",
        "",
        f"{2 * size['images']:,} features of {size['dim']} against {texts:,} texts, in batches of "
        f"128, on the processor with {torch.get_num_threads()} thread(s): tuning does not use the "
        "accelerator.",
        "",
    )
    head("", "steps made", "of", "s", "s for all steps")
    for title, tune, share in (
        ("projection", work.tune_projection, 0.6),
        ("negatives", work.tune_negatives, 1.0),
    ):
        done, steps, seconds = tuned(tune, time.perf_counter() + share * (place.left - 5))
        whole = seconds * steps / done
        row(title, f"{done:,}", f"{steps:,}", f"{seconds:.1f}",
            f"{whole:.1f}" + ("" if done == steps else " (extrapolated)"))  # fmt: skip


class _Enough(Exception):  # noqa: N818 - the time is over, which is no error
    pass


def tuned(
    tune: Callable[[Callable[[int, int, float], None]], object], end: float
) -> tuple[int, int, float]:
    """Steps made until `end`, steps in all, and the seconds of those made."""
    seen = [0, 0]
    start = time.perf_counter()

    def note(step: int, steps: int, loss: float) -> None:
        seen[:] = step, steps
        if time.perf_counter() > end and step < steps:
            raise _Enough

    with suppress(_Enough):
        tune(note)
    return seen[0], seen[1], time.perf_counter() - start
