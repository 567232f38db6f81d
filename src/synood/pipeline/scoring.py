"""Scoring a folder with an executor: a detector goes through batches of paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

from synood.errors import InputError
from synood.executor import in_turn
from synood.features.files import read_features

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from synood.detector import OODDetector, Prediction
    from synood.executor import Executor
    from synood.images.sources import ImageIndex, ImageRecord
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
    """Return what `iter_index` yields."""
    return [*iter_index(detector, index, executor, progress, explain)]


def iter_index(
    detector: OODDetector,
    index: ImageIndex,
    executor: Executor,
    progress: StageProgress,
    explain: bool = False,
) -> Iterator[Prediction]:
    """Yield a prediction for each image of `index`, in its order; none is kept.

    A file that cannot be read has the reason in `error`; the others have the same bytes as without
    it. `progress` is called after each batch. With `explain`, each prediction says why.
    """
    total = len(index.records)

    def reported() -> Iterator[tuple[int, list[Prediction]]]:
        done = 0
        for number, predictions in executor.run(Score(detector, explain), _Paths(index.records)):
            done += len(predictions)
            progress(done, total, "")
            yield number, predictions

    for predictions in in_turn(reported()):
        yield from predictions


@dataclass(frozen=True)
class _Paths(Sequence[list[Path]]):
    """Paths of records in batches, each made when it is asked for: a million take 500 MB."""

    records: Sequence[ImageRecord]

    def __len__(self) -> int:
        return -(-len(self.records) // BATCH)

    @overload
    def __getitem__(self, number: int) -> list[Path]: ...

    @overload
    def __getitem__(self, number: slice) -> list[list[Path]]: ...

    def __getitem__(self, number: int | slice) -> list[Path] | list[list[Path]]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        start = BATCH * range(len(self))[number]
        return [record.path for record in self.records[start : start + BATCH]]


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
