"""Who paints the synthetic pictures: models in this process, or an executor's workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from synood.pipeline._target import square

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synood.models.classifier import Classifier
    from synood.models.inpainting import Inpainter
    from synood.pipeline._shards import Order
    from synood.pipeline.executors import Executor, Task
    from synood.settings import GuidanceSettings
    from synood.synthesis.guidance import Rendered

CHECKED_AT_ONCE = 16  # prompts


class Paints(Protocol):
    """Who paints a run's pictures, `batch_size` at a time."""

    batch_size: int

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Raise an `InputError` for a prompt that cannot be painted, before any work."""

    def paint_all(self, batches: Sequence[Sequence[Order]]) -> Iterator[list[Rendered]]:
        """Yield the pictures of each batch as they are there, in the order of the batches."""


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

    def paint_all(self, batches: Sequence[Sequence[Order]]) -> Iterator[list[Rendered]]:
        """Yield the pictures of each batch, painted in this process."""
        return map(self.paint, batches)

    def paint(self, orders: Sequence[Order]) -> list[Rendered]:
        """Paint a batch; a picture depends on its own order, and on its company by rounding."""
        import torch

        from synood.images.reading import read_image
        from synood.synthesis.guidance import guided_inpainting

        size = self._inpainter.image_size
        pixels = [square(read_image(order.source), size) for order in orders]
        return guided_inpainting(
            self._inpainter,
            self._classifier,
            torch.from_numpy(np.stack(pixels)),
            [order.prompt for order in orders],
            self._settings,
            [order.seed for order in orders],
        )


class Crew:
    """Has an executor's workers paint."""

    def __init__(
        self,
        executor: Executor,
        task: Task[Sequence[Order], list[Rendered]],
        inpainter: Inpainter,
        batch_size: int,
    ) -> None:
        self._executor, self._task, self._inpainter = executor, task, inpainter
        self.batch_size = batch_size

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Raise an `InputError` for a prompt that the text tower cannot take, before any work."""
        check_prompts(self._inpainter, prompts)

    def paint_all(self, batches: Sequence[Sequence[Order]]) -> Iterator[list[Rendered]]:
        """Yield the pictures of each batch as they are there, in the order of the batches."""
        return self._executor.run(self._task, batches)


def check_prompts(inpainter: Inpainter, prompts: Sequence[str]) -> None:
    """Raise an `InputError` for a prompt that the text tower cannot take."""
    import torch

    distinct = sorted(set(prompts))
    for start in range(0, len(distinct), CHECKED_AT_ONCE):
        batch = distinct[start : start + CHECKED_AT_ONCE]
        inpainter.condition(batch, [torch.Generator() for _ in batch])
