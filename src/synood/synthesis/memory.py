"""How many pictures are painted at a time, and how their gradient is taken, so that memory does."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from synood.errors import InputError
from synood.models.memory import largest_that_fits, total_memory, unless_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from synood.models.guide import Guide
    from synood.models.inpainting import Inpainter
    from synood.settings import GuidanceSettings
    from synood.synthesis.guidance import Memory, Rendered

    PaintSome = Callable[[int, int, Memory], list[Rendered]]

LEANER: dict[Memory, Memory] = {"plain": "slice", "slice": "checkpoint"}
GUIDE_SHARE = 1.25  # of the decoder's gradient: what the guide's comes to, and a margin
AT_MOST = 64  # pictures at a time on an accelerator: a bound to the search, not a measurement
AT_MOST_ON_CPU = 8  # what is usual; larger batches were not measured
SPARE = 0.9  # of the largest number that ran when it was tried: fragments take room later


def gradient_memory(inpainter: Inpainter, pictures: int) -> Memory:
    """Return the fastest way to take the gradient of so many pictures in half the memory.

    It depends on the device's whole memory, not on what is free, so it is the same in every run.
    """
    half, one = total_memory(str(inpainter.device)) / 2, inpainter.gradient_bytes * GUIDE_SHARE
    if pictures * one <= half:
        return "plain"
    return "slice" if one <= half else "checkpoint"


def leaner_of(one: Memory, other: Memory) -> Memory:
    """Return which of two kinds of gradient takes less memory."""
    order = [*LEANER, "checkpoint"]
    return max(one, other, key=order.index)


class Fitter:
    """Paints any number of pictures in pieces that fit, and learns from memory that ran out.

    First the gradient is taken in a leaner way, then the pieces are halved; the smaller ones stay.
    """

    def __init__(self, inpainter: Inpainter) -> None:
        self._inpainter = inpainter
        self._memory: Memory = "plain"  # at least as lean as this
        self._limit: int | None = None  # pictures at a time

    def paint(self, pictures: int, paint_some: PaintSome) -> tuple[list[Rendered], list[str]]:
        """Call `paint_some(start, stop, memory)` until all are painted; return them and remarks.

        Raises `InputError` when not even one picture fits.
        """
        done: list[Rendered] = []
        remarks: list[str] = []
        while len(done) < pictures:
            stop = min(pictures, len(done) + (self._limit or pictures))
            memory = leaner_of(self._memory, gradient_memory(self._inpainter, stop - len(done)))
            piece = unless_out_of_memory(partial(paint_some, len(done), stop, memory))
            if piece is None:
                remarks.append(self._retreat(stop - len(done), memory))
            else:
                done.extend(piece)
        return done, remarks

    def _retreat(self, pictures: int, memory: Memory) -> str:
        device = self._inpainter.device
        if memory in LEANER:
            self._memory = LEANER[memory]
            change = f"the gradient is taken in the way {self._memory!r}"
        elif pictures > 1:
            self._limit = pictures // 2
            change = f"going on with {self._limit}"
        else:
            raise InputError(
                f"one picture at a time is too much for the memory of {device}; use another "
                "device or a smaller model, or half precision (--models ...+inpainter.dtype="
                "bfloat16)"
            )
        return f"memory of {device} ran out with {pictures} pictures at a time: {change}"


def fitting_batch_size(
    inpainter: Inpainter, guide: Guide, settings: GuidanceSettings, most: int
) -> int:
    """Return how many pictures of `most` to paint at a time.

    On an accelerator as many as fit, found by trying. On a CPU `AT_MOST_ON_CPU`, or as many as
    half the memory holds.
    """
    if inpainter.device.type != "cpu":
        return largest_tried(inpainter, guide, settings, min(most, AT_MOST))
    held = total_memory("cpu") / 2 / (inpainter.gradient_bytes * GUIDE_SHARE)
    return max(1, min(most, AT_MOST_ON_CPU, int(held)))


def largest_tried(inpainter: Inpainter, guide: Guide, settings: GuidanceSettings, most: int) -> int:
    """Return `SPARE` of the largest number of grey pictures that could be painted in two steps."""
    trial = replace(
        settings,
        num_inference_steps=2,
        strength=1.0,
        rounds=2,
        step_size=1.0,
        stop_at_target=False,
    )

    def attempt(pictures: int) -> bool:
        grey = partial(_paint_grey, inpainter, guide, trial, pictures)
        return unless_out_of_memory(grey) is not None

    return max(1, int(SPARE * largest_that_fits(attempt, most)))


def _paint_grey(
    inpainter: Inpainter, guide: Guide, settings: GuidanceSettings, pictures: int
) -> list[Rendered]:
    import torch

    from synood.synthesis.guidance import guided_inpainting

    size = inpainter.image_size
    return guided_inpainting(
        inpainter,
        guide,
        torch.full((pictures, 3, size, size), 0.5),
        [""] * pictures,
        settings,
        range(pictures),
        memory="slice",
    )
