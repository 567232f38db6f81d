"""Guided in-painting within a device's memory: batch size, and how the gradient is computed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from synood.errors import InputError
from synood.models.memory import largest_that_fits, total_memory, unless_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from synood.models.guide import Guide
    from synood.models.latents import LatentInpainter
    from synood.settings import GuidanceSettings
    from synood.synthesis.guidance import Memory, Rendered

LEANER: dict[Memory, Memory] = {"plain": "slice", "slice": "checkpoint"}
GUIDE_FACTOR = 1.25  # of the decoder's gradient: what the guide's comes to, and a margin
AT_MOST = 64  # images at a time on an accelerator: a bound to the search, not a measurement
AT_MOST_ON_CPU = 8  # what is usual; larger batches were not measured
SPARE = 0.9  # of the largest number that ran when it was tried: fragments take room later


def gradient_memory(inpainter: LatentInpainter, images: int) -> Memory:
    """Return the fastest way to take the gradient of so many images in half the memory.

    It depends on the device's whole memory, not on what is free, so it is the same in every run.
    """
    half, one = total_memory(str(inpainter.device)) / 2, inpainter.gradient_bytes * GUIDE_FACTOR
    if images * one <= half:
        return "plain"
    return "slice" if one <= half else "checkpoint"


def leaner_of(one: Memory, other: Memory) -> Memory:
    """Return which of two kinds of gradient takes less memory."""
    order = [*LEANER, "checkpoint"]
    return max(one, other, key=order.index)


class PiecewiseSynthesis:
    """Guided in-painting of any number of images, in pieces that fit into memory.

    When memory runs out, the gradient is first computed in a leaner way, then pieces are halved;
    both stay so for later calls.
    """

    def __init__(
        self, inpainter: LatentInpainter, guide: Guide, settings: GuidanceSettings
    ) -> None:
        self._inpainter = inpainter
        self._guide = guide
        self._settings = settings
        self._memory: Memory = "plain"  # at least as lean as this
        self._limit: int | None = None  # images at a time

    def synthesize(
        self,
        pixels: NDArray[np.float32],
        prompts: Sequence[str],
        seeds: Sequence[int],
        source_energies: Sequence[float] | None = None,
    ) -> tuple[list[Rendered], list[str]]:
        """Synthesize from pixels (B, 3, S, S) in [0, 1]; also return what memory forced to change.

        Raises `InputError` when not even one image fits.
        """
        done: list[Rendered] = []
        notices: list[str] = []
        while len(done) < len(pixels):
            stop = min(len(pixels), len(done) + (self._limit or len(pixels)))
            piece = slice(len(done), stop)
            memory = leaner_of(self._memory, gradient_memory(self._inpainter, stop - len(done)))
            rendered = unless_out_of_memory(
                partial(
                    self._synthesize_piece,
                    pixels[piece],
                    prompts[piece],
                    seeds[piece],
                    None if source_energies is None else source_energies[piece],
                    memory,
                )
            )
            if rendered is None:
                notices.append(self._retreat(stop - len(done), memory))
            else:
                done.extend(rendered)
        return done, notices

    def _synthesize_piece(
        self,
        pixels: NDArray[np.float32],
        prompts: Sequence[str],
        seeds: Sequence[int],
        source_energies: Sequence[float] | None,
        memory: Memory,
    ) -> list[Rendered]:
        import torch

        from synood.synthesis.guidance import guided_inpainting

        return guided_inpainting(
            self._inpainter,
            self._guide,
            torch.from_numpy(pixels),
            prompts,
            self._settings,
            seeds,
            source_energies=source_energies,
            memory=memory,
        )

    def _retreat(self, images: int, memory: Memory) -> str:
        device = self._inpainter.device
        if memory in LEANER:
            self._memory = LEANER[memory]
            change = f"the gradient is computed with memory {self._memory!r}"
        elif images > 1:
            self._limit = images // 2
            change = f"going on with {self._limit}"
        else:
            raise InputError(
                f"one image at a time is too much for the memory of {device}; use another "
                "device or a smaller model, or half precision (--models ...+inpainter.dtype="
                "bfloat16)"
            )
        return f"memory of {device} ran out with {images} images at a time: {change}"


def fitting_batch_size(
    inpainter: LatentInpainter, guide: Guide, settings: GuidanceSettings, most: int
) -> int:
    """Return the batch size for `most` images.

    On an accelerator as many as fit, found by trying. On a CPU `AT_MOST_ON_CPU`, or as many as
    half the memory holds.
    """
    if inpainter.device.type != "cpu":
        return largest_tried(inpainter, guide, settings, min(most, AT_MOST))
    held = total_memory("cpu") / 2 / (inpainter.gradient_bytes * GUIDE_FACTOR)
    return max(1, min(most, AT_MOST_ON_CPU, int(held)))


def largest_tried(
    inpainter: LatentInpainter, guide: Guide, settings: GuidanceSettings, most: int
) -> int:
    """Return `SPARE` of the largest batch of grey images that could be made in two steps."""
    trial = replace(
        settings,
        num_inference_steps=2,
        strength=1.0,
        rounds=2,
        step_size=1.0,
        mu=1.0,
        guided_steps=None,
        stop_at_target=False,
    )

    def attempt(images: int) -> bool:
        grey = partial(_synthesize_grey, inpainter, guide, trial, images)
        return unless_out_of_memory(grey) is not None

    return max(1, int(SPARE * largest_that_fits(attempt, most)))


def _synthesize_grey(
    inpainter: LatentInpainter, guide: Guide, settings: GuidanceSettings, images: int
) -> list[Rendered]:
    import torch

    from synood.synthesis.guidance import guided_inpainting

    size = inpainter.image_size
    return guided_inpainting(
        inpainter,
        guide,
        torch.full((images, 3, size, size), 0.5),
        [""] * images,
        settings,
        range(images),
        memory="slice",
    )
