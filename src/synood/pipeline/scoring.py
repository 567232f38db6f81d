"""Folders scored by an executor: a detector goes through batches of paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from synood.detector import BATCH
from synood.pipeline.executors import in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from synood.detector import OODDetector, Prediction
    from synood.images.sources import ImageIndex
    from synood.pipeline._workspace import Advance
    from synood.pipeline.executors import Executor


@dataclass(frozen=True)
class Score:
    """Paths of images in, their verdicts out."""

    detector: OODDetector

    def begin(self, device: str | None = None) -> Callable[[Sequence[Path]], list[Prediction]]:
        """Have the detector encode on `device`; its encoder is loaded at the first image."""
        detector = self.detector if device is None else self.detector.on(device)
        return detector.predict


def predict_index(
    detector: OODDetector, index: ImageIndex, executor: Executor, advance: Advance
) -> list[Prediction]:
    """Return a verdict for each image of `index`, in its order.

    The same as `detector.predict(index)`; `advance` hears of every batch.
    """
    paths = [record.path for record in index.records]
    batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]

    def told() -> Iterator[tuple[int, list[Prediction]]]:
        done = 0
        for number, predictions in executor.run(Score(detector), batches):
            done += len(predictions)
            advance(done, len(paths), "")
            yield number, predictions

    return [prediction for predictions in in_order(told()) for prediction in predictions]
