"""Scores that another tool gave to the same images, from a CSV or JSONL file.

One row an image, with `path` and `score`; other columns are ignored, so what `synood score` writes
is such a file. A path is looked up from the working directory, beside the file, and below the
folder of each set.
"""

from __future__ import annotations

import csv
import io
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synood.errors import InputError
from synood.files import read_jsonl, read_text, readable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from synood.images.sources import ImageIndex

LARGEST = 1e30  # a score in single precision, with room for differences


@dataclass(frozen=True)
class OutsideScores:
    """The scores of a file, by the paths in it; `higher_is_ood` are those of anomalies."""

    path: Path
    scores: Mapping[str, float]
    higher_is_ood: bool = False

    @classmethod
    def read(cls, path: Path, higher_is_ood: bool = False) -> OutsideScores:
        """Read a file; an `InputError` names the row that is of another form."""
        return cls(path, dict(_rows(path)), higher_is_ood)

    def of_sets(self, sets: Mapping[str, ImageIndex]) -> dict[str, NDArray[np.float32]]:
        """Return set name -> scores (N,) in the order of the set, higher = more in-distribution.

        An image of a set without a score is an `InputError`.
        """
        return {name: self._of(name, index) for name, index in sets.items()}

    def _of(self, name: str, index: ImageIndex) -> NDArray[np.float32]:
        sign = -1.0 if self.higher_is_ood else 1.0
        values = [
            _score_of(record.path, index.root, self.path, self.scores) for record in index.records
        ]
        lacking = [record for record, v in zip(index.records, values, strict=True) if v is None]
        if lacking:
            raise InputError(
                f"{readable(self.path)}: has no score for {len(lacking)} of the {len(values)} "
                f"images of {name}, such as {readable(lacking[0].path)}"
            )
        return np.array([sign * float(v) for v in values if v is not None], np.float32)


def _rows(path: Path) -> Iterator[tuple[str, float]]:
    """Yield path and score of each row; a row without a score is passed over."""
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        rows: list[dict[str, Any]] = read_jsonl(path)
    else:
        try:
            rows = list(csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True))
        except csv.Error as error:
            raise InputError(f"{readable(path)}: not readable as CSV ({error})") from None
    if not rows:
        raise InputError(f"{readable(path)}: holds no rows")
    for number, row in enumerate(rows, start=1):
        where = f"{readable(path)}, row {number}"
        if not isinstance(row.get("path"), str) or "score" not in row:
            raise InputError(
                f"{where}: needs `path` and `score`, it has {', '.join(map(str, row))}"
            )
        if row["score"] not in (None, ""):
            yield Path(row["path"]).as_posix(), _number(row["score"], where)


def _number(value: object, where: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InputError(f"{where}: the score {value!r} is not a number") from None
    if not math.isfinite(number) or abs(number) > LARGEST:
        raise InputError(f"{where}: the score {value!r} is not finite, or too large")
    return number


def _score_of(image: Path, root: Path, file: Path, scores: Mapping[str, float]) -> float | None:
    """Return an image's score under any of the names that a file may have for it."""
    absolute = image.absolute()
    names = [readable(image), readable(absolute)]
    for folder in (Path.cwd(), file.absolute().parent, root.absolute()):
        names.append(Path(os.path.relpath(absolute, folder)).as_posix())
    return next((scores[name] for name in dict.fromkeys(names) if name in scores), None)
