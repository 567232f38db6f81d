"""Images painted an hour, and peak memory: unguided, in rounds and in guided steps."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from device_place import GIGABYTE, Place, head, row, say, seconds_of, synchronize

from synood.models.memory import peak_memory, reset_peak
from synood.synthesis.memory import AT_MOST, PiecewiseSynthesis, fitting_batch_size

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from random_painters import Painting

    from synood.settings import GuidanceSettings
    from synood.synthesis.guidance import Rendered

TRIAL_SHARE = 0.25  # of the time for painting, in which the batch size is looked for
TRIAL_COST = 0.2  # of an image in rounds: what one in a trial takes at the most
PROMPT = "A photo only remain a wooden bench in a park."


def painting(make: Callable[[str, bool, Path], Painting], place: Place) -> None:
    """Images an hour and peak memory, unguided, in rounds and in steps."""
    start = time.perf_counter()
    work = make(place.device, place.toy, place.folder)
    synchronize(place.device)
    loading = time.perf_counter() - start
    size, precision = work.inpainter.image_size, work.inpainter.precision
    say("", f"## {work.title}, {size} x {size}, {precision}", "")
    ways = ways_of(work)
    single = {title: one_image(work, how, place) for title, how in ways.items()}
    batch, tried, searching = batch_size(work, single, place)
    settings = work.settings
    say(
        f"{settings.num_inference_steps} steps, strength {settings.strength:g}, guidance scale "
        f"{settings.guidance_scale:g}; models made in {loading:.0f} s. Batch size `auto`: {batch} "
        f"of at most {tried} tried, found in {searching:.0f} s. A smaller batch stands where so "
        "many images would not have been ready in time.",
        "",
    )
    head("", "images an hour", "s an image", "of the rounds'", "batch", "peak memory, GB",
         "one alone, s")  # fmt: skip
    rounds, notices = None, list[str]()
    for done, (title, how) in enumerate(ways.items()):
        fitting = int(place.left / (len(ways) - done) / single[title])
        images = max(1, min(batch, fitting))
        seconds, peak, told = painted(work, how, images, place)
        notices += told
        rounds = seconds / images if how == settings else rounds
        share = "-" if rounds is None else f"{seconds / images / rounds:.2f}"
        row(title, f"{3600 * images / seconds:,.0f}", f"{seconds / images:.3g}", share, images,
            f"{peak / GIGABYTE:.1f}", f"{single[title]:.3g}")  # fmt: skip
    for notice in dict.fromkeys(notices):
        say("", notice)


def ways_of(work: Painting) -> dict[str, GuidanceSettings]:
    step = replace(work.settings, method="step")
    return {
        f"{work.settings.rounds} rounds": work.settings,
        "one rendering, unguided": work.settings.unguided(),
        f"the last {work.last} steps guided": replace(step, guided_steps=work.last),
        "every step guided": step,
    }


def one_image(work: Painting, how: GuidanceSettings, place: Place) -> float:
    """Seconds of one image alone, after one that does not count."""
    paint(work, replace(how, num_inference_steps=4), 1)
    return seconds_of(partial(paint, work, how, 1), place.device)


def batch_size(work: Painting, single: dict[str, float], place: Place) -> tuple[int, int, float]:
    """The batch size of `auto`, out of how many, and the seconds that the search took."""
    longest = max(single.values())
    most = int(TRIAL_SHARE * place.left / (2 * TRIAL_COST * longest))
    most = max(1, min(AT_MOST, most))
    start = time.perf_counter()
    found = fitting_batch_size(work.inpainter, work.guide, work.settings, most)
    return found, most, time.perf_counter() - start


def painted(
    work: Painting, how: GuidanceSettings, images: int, place: Place
) -> tuple[float, int, list[str]]:
    """Seconds, peak memory and notices of so many images at a time."""
    told: list[str] = []
    reset_peak(place.device)
    seconds = seconds_of(lambda: told.extend(paint(work, how, images)[1]), place.device)
    return seconds, peak_memory(place.device), told


def paint(work: Painting, how: GuidanceSettings, images: int) -> tuple[list[Rendered], list[str]]:
    """Paint as a run does, from random pixels."""
    side = work.inpainter.image_size
    pixels = np.random.default_rng(0).random((images, 3, side, side), np.float32)
    synthesis = PiecewiseSynthesis(work.inpainter, work.guide, how)
    return synthesis.synthesize(pixels, [PROMPT] * images, range(images))
