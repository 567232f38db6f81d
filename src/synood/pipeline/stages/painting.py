"""Who paints the synthetic pictures: models in this process, or an executor's workers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from synood.features.unreadable import Unreadable, map_padded
from synood.models.memory import peak_memory, reset_peak
from synood.pipeline.stages.target import squares
from synood.synthesis.memory import Fitter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from synood.models.guide import Guide
    from synood.models.inpainting import Inpainter
    from synood.pipeline.executors.local import Executor, Task
    from synood.pipeline.rundir.shards import Order
    from synood.pipeline.rundir.workspace import Workspace
    from synood.settings import GuidanceSettings
    from synood.synthesis.guidance import Memory, Rendered

    Results = Iterator[tuple[int, Sequence[Rendered | Unreadable]]]

GIGABYTE = 1e9


@dataclass(frozen=True)
class Painted:
    """What came of one batch, and at what price."""

    pictures: Sequence[Rendered | Unreadable]
    remarks: list[str]  # what had to be changed because memory ran out
    peak_memory: int  # bytes, as `synood.models.memory.peak_memory` says


class Paints(Protocol):
    """Who paints a run's pictures, `batch_size` at a time."""

    batch_size: int

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Raise an `InputError` for a prompt that cannot be painted, before any work."""

    def paint_all(self, batches: Sequence[Sequence[Order]]) -> Results:
        """Yield the number of each batch with its pictures, as they are done."""


class Painter:
    """The models that paint, and how: a batch of orders in, as many pictures out."""

    def __init__(
        self,
        inpainter: Inpainter,
        guide: Guide,
        settings: GuidanceSettings,
        batch_size: int,
    ) -> None:
        self._inpainter = inpainter
        self._guide = guide
        self._settings = settings
        self._fitter = Fitter(inpainter)
        self.batch_size = batch_size

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Raise an `InputError` for a prompt that the text tower cannot take, before any work."""
        self._inpainter.check_prompts(sorted(set(prompts)))

    def paint_all(self, batches: Sequence[Sequence[Order]]) -> Results:
        """Yield the number of each batch with its pictures, painted in this process."""
        return enumerate(map(self.paint, batches))

    def paint(self, orders: Sequence[Order]) -> Sequence[Rendered | Unreadable]:
        """Paint a batch of at most `batch_size`; it is filled up to that number.

        So a picture depends on its own order and on the size of the batch, not on its company. An
        order whose image is gone or altered is `Unreadable`.
        """
        return self.painted(orders).pictures

    def painted(self, orders: Sequence[Order]) -> Painted:
        """Paint a batch as `paint` does, in pieces where memory runs out, and say what it took."""
        device, remarks = str(self._inpainter.device), list[str]()
        pixels = squares(orders, self._inpainter.image_size)
        values = [
            p if isinstance(p, Unreadable) else (o, p) for o, p in zip(orders, pixels, strict=True)
        ]

        def in_pieces(batch: list[tuple[Order, NDArray[np.float32]]]) -> list[Rendered]:
            pictures, said = self._fitter.paint(
                len(batch), lambda start, stop, memory: self._paint(batch[start:stop], memory)
            )
            remarks.extend(said)
            return pictures

        reset_peak(device)
        pictures = map_padded(values, in_pieces, self.batch_size)
        return Painted(pictures, remarks, peak_memory(device))

    def _paint(
        self, batch: Sequence[tuple[Order, NDArray[np.float32]]], memory: Memory
    ) -> list[Rendered]:
        import torch

        from synood.synthesis.guidance import guided_inpainting

        return guided_inpainting(
            self._inpainter,
            self._guide,
            torch.from_numpy(np.stack([pixels for _, pixels in batch])),
            [order.prompt for order, _ in batch],
            self._settings,
            [order.seed for order, _ in batch],
            memory=memory,
        )


class Crew:
    """Has an executor's workers paint, and tells the user how fast and in how much memory."""

    def __init__(
        self,
        executor: Executor,
        task: Task[Sequence[Order], Painted],
        inpainter: Inpainter,
        batch_size: int,
        workspace: Workspace,
    ) -> None:
        self._executor, self._task, self._inpainter = executor, task, inpainter
        self._workspace = workspace
        self.batch_size = batch_size

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Raise an `InputError` for a prompt that the text tower cannot take, before any work."""
        self._inpainter.check_prompts(sorted(set(prompts)))

    def paint_all(self, batches: Sequence[Sequence[Order]]) -> Results:
        """Yield the number of each batch with its pictures, as the workers have done them."""
        start, pictures, peak = time.monotonic(), 0, 0
        for number, painted in self._executor.run(self._task, batches):
            for remark in painted.remarks:
                self._workspace.notify("synthesize", remark)
            pictures += sum(not isinstance(one, Unreadable) for one in painted.pictures)
            peak = max(peak, painted.peak_memory)
            yield number, painted.pictures
        self._tell(pictures, time.monotonic() - start, peak)

    def _tell(self, pictures: int, seconds: float, peak: int) -> None:
        """Put the pace and the memory on record: in events.jsonl, which differs between runs."""
        device, dtype = str(self._inpainter.device), self._inpainter.precision
        rate = 3600 * pictures / seconds
        self._workspace.notify(
            "synthesize",
            f"painted {pictures} pictures, {rate:.0f} an hour, in at most {peak / GIGABYTE:.1f} GB "
            f"({device}, {dtype}, {self.batch_size} at a time)",
            pictures=pictures,
            seconds=round(seconds, 3),
            pictures_per_hour=round(rate, 1),
            peak_memory_bytes=peak,
            device=device,
            dtype=dtype,
            batch_size=self.batch_size,
        )
