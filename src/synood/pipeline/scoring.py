"""Folders scored by an executor: a detector goes through batches of paths."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from synood.detector.ood_detector import BATCH, Prediction
from synood.features.cached import CachedEncoder
from synood.features.unreadable import Unreadable, map_padded
from synood.pipeline.executors.local import in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from synood.detector.ood_detector import OODDetector
    from synood.images.sources import ImageIndex
    from synood.pipeline.executors.local import Executor
    from synood.progress import StageProgress


@dataclass(frozen=True)
class Score:
    """Paths of images in, their verdicts out."""

    detector: OODDetector

    def begin(self, device: str | None = None) -> Callable[[Sequence[Path]], list[Prediction]]:
        """Have the detector encode on `device`; its encoder is loaded at the first image."""
        detector = self.detector if device is None else self.detector.on(device)
        backbone = detector.backbone
        encoder = CachedEncoder(backbone.fingerprint, backbone.load, backbone.device)

        def judged(features: list[NDArray[np.float32]]) -> list[Prediction]:
            return [*detector.verdicts(np.stack(features), [None] * len(features))]

        def work(paths: Sequence[Path]) -> list[Prediction]:
            verdicts = map_padded(encoder.features(paths), judged, BATCH)
            return [_of(path, one) for path, one in zip(paths, verdicts, strict=True)]

        return work


def _of(path: Path, verdict: Prediction | Unreadable) -> Prediction:
    if isinstance(verdict, Unreadable):
        return Prediction(math.nan, None, "", path, verdict.reason)
    return replace(verdict, path=path)


def predict_index(
    detector: OODDetector, index: ImageIndex, executor: Executor, advance: StageProgress
) -> list[Prediction]:
    """Return a verdict for each image of `index`, in its order.

    A file that cannot be read has its reason in `error`; the others have the same bytes as without
    it, alone and in any company. Images that this machine's cache knows are not encoded. `advance`
    hears of every batch.
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
