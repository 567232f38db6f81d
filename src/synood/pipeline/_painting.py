"""Who paints the synthetic pictures: models in this process, or an executor's workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from synood.pipeline._quarantine import Lost, in_company
from synood.pipeline._target import squares

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from synood.models.classifier import Classifier
    from synood.models.inpainting import Inpainter
    from synood.pipeline._shards import Order
    from synood.pipeline.executors import Executor, Task
    from synood.settings import GuidanceSettings
    from synood.synthesis.guidance import Rendered

    Painted = Iterator[tuple[int, Sequence[Rendered | Lost]]]

CHECKED_AT_ONCE = 16  # prompts


class Paints(Protocol):
    """Who paints a run's pictures, `batch_size` at a time."""

    batch_size: int

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Raise an `InputError` for a prompt that cannot be painted, before any work."""

    def paint_all(self, batches: Sequence[Sequence[Order]]) -> Painted:
        """Yield the number of each batch with its pictures, as they are done."""


class Painter:
    """The models that paint, and how: a batch of orders in, as many pictures out."""

    def __init__(
        self,
        inpainter: Inpainter,
        classifier: Classifier,
        settings: GuidanceSettings,
        batch_size: int,
    ) -> None:
        self._inpainter = inpainter
        self._classifier = classifier
        self._settings = settings
        self.batch_size = batch_size

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Raise an `InputError` for a prompt that the text tower cannot take, before any work."""
        check_prompts(self._inpainter, prompts)

    def paint_all(self, batches: Sequence[Sequence[Order]]) -> Painted:
        """Yield the number of each batch with its pictures, painted in this process."""
        return enumerate(map(self.paint, batches))

    def paint(self, orders: Sequence[Order]) -> Sequence[Rendered | Lost]:
        """Paint a batch of at most `batch_size`; it is filled up to that number.

        So a picture depends on its own order and on the size of the batch, not on its company. An
        order whose image is gone or altered is `Lost`.
        """
        pixels = squares(orders, self._inpainter.image_size)
        values = [p if isinstance(p, Lost) else (o, p) for o, p in zip(orders, pixels, strict=True)]
        return in_company(values, self._painted, self.batch_size)

    def _painted(self, batch: list[tuple[Order, NDArray[np.float32]]]) -> list[Rendered]:
        import torch

        from synood.synthesis.guidance import guided_inpainting

        return guided_inpainting(
            self._inpainter,
            self._classifier,
            torch.from_numpy(np.stack([pixels for _, pixels in batch])),
            [order.prompt for order, _ in batch],
            self._settings,
            [order.seed for order, _ in batch],
        )


class Crew:
    """Has an executor's workers paint."""

    def __init__(
        self,
        executor: Executor,
        task: Task[Sequence[Order], Sequence[Rendered | Lost]],
        inpainter: Inpainter,
        batch_size: int,
    ) -> None:
        self._executor, self._task, self._inpainter = executor, task, inpainter
        self.batch_size = batch_size

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Raise an `InputError` for a prompt that the text tower cannot take, before any work."""
        check_prompts(self._inpainter, prompts)

    def paint_all(self, batches: Sequence[Sequence[Order]]) -> Painted:
        """Yield the number of each batch with its pictures, as the workers have done them."""
        return self._executor.run(self._task, batches)


def check_prompts(inpainter: Inpainter, prompts: Sequence[str]) -> None:
    """Raise an `InputError` for a prompt that the text tower cannot take."""
    import torch

    distinct = sorted(set(prompts))
    for start in range(0, len(distinct), CHECKED_AT_ONCE):
        batch = distinct[start : start + CHECKED_AT_ONCE]
        inpainter.condition(batch, [torch.Generator() for _ in batch])
