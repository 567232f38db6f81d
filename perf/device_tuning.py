"""Both tunings of the paper's run, which compute on the processor whatever the device."""

from __future__ import annotations

import time
from functools import partial

import torch
from device_place import Place, head, row, say

from synood.benchmark.speed.tuning import PAPER, TuningWork, stopped

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
        start = time.perf_counter()
        end = start + share * (place.left - 5)
        done, steps = stopped(tune, partial(_is_over, end))
        seconds = time.perf_counter() - start
        whole = seconds * steps / done
        row(title, f"{done:,}", f"{steps:,}", f"{seconds:.1f}",
            f"{whole:.1f}" + ("" if done == steps else " (extrapolated)"))  # fmt: skip


def _is_over(end: float, _: int) -> bool:
    return time.perf_counter() > end
