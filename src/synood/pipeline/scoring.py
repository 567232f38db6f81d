"""Scoring a folder with an executor: a detector goes through batches of paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synood.errors import InputError
from synood.executor import in_order
from synood.features.files import read_features

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from synood.detector import OODDetector, Prediction
    from synood.executor import Executor
    from synood.images.sources import ImageIndex
    from synood.progress import StageProgress

BATCH = 64  # paths in one batch of an executor; progress is reported after each


@dataclass(frozen=True)
class Score:
    """Paths of images in, predictions out."""

    detector: OODDetector
    explain: bool = False

    def begin(self, device: str | None = None) -> Callable[[Sequence[Path]], list[Prediction]]:
        """Have the detector encode on `device`; its encoder is loaded at the first image."""
        detector = self.detector if device is None else self.detector.on(device)
        return lambda paths: [
            *detector.iter_predict(paths, report_unreadable=True, explain=self.explain)
        ]


def predict_index(
    detector: OODDetector,
    index: ImageIndex,
    executor: Executor,
    progress: StageProgress,
    explain: bool = False,
) -> list[Prediction]:
    """Return a prediction for each image of `index`, in its order.

    A file that cannot be read has the reason in `error`; the others have the same bytes as without
    it. `progress` is called after each batch. With `explain`, each prediction says why.
    """
    paths = [record.path for record in index.records]
    batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]

    def reported() -> Iterator[tuple[int, list[Prediction]]]:
        done = 0
        for number, predictions in executor.run(Score(detector, explain), batches):
            done += len(predictions)
            progress(done, len(paths), "")
            yield number, predictions

    return [prediction for predictions in in_order(reported()) for prediction in predictions]


def predict_file(detector: OODDetector, file: Path, explain: bool = False) -> list[Prediction]:
    """Return a prediction for each row of a file of features, its name as the path.

    Features of another length than the detector's are an `InputError` that names the file.
    """
    given = read_features(file)
    width, own = given.features.shape[1], detector.class_features.shape[1]
    if width != own:
        raise InputError(
            f"{file}: its features have {width} numbers each, those of the detector {own}; "
            "compute them with the encoder that the detector was made with"
        )
    names = [Path(name) for name in given.names()]
    return detector.predict_features(given.features, names, explain=explain)
