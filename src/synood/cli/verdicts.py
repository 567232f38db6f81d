"""Verdicts as text, written as they come: a folder of any size takes as much memory as a small one.

The table alone is made of all of them at once, since its columns are as wide as their widest cell.
"""

from __future__ import annotations

import csv
import json
import tempfile
from array import array
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

import numpy as np

from synood.cli.console import table_text
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from synood.cli.console import Format
    from synood.detector.ood_detector import Prediction

_IN_MEMORY = 2**20  # bytes of text; more of it waits in a temporary file
_COLUMNS = ("path", "score", "p_value", "is_ood", "label", "image_evidence", "error")
_VERDICTS = {True: "OOD", False: "in", None: "-"}


class Tally:
    """What warnings and the exit code need of predictions that have gone by."""

    def __init__(self) -> None:
        self.any_ood = False
        self._scores, self._looks = array("d"), array("d")
        self._unscored, self._first = 0, ""

    def of(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Yield the predictions and count them."""
        for one in predictions:
            if one.error:
                self._first = self._first or one.error
                self._unscored += 1
            else:
                self._scores.append(one.score)
                if one.image_evidence is not None:
                    self._looks.append(one.image_evidence)
            self.any_ood |= bool(one.is_ood)
            yield one

    @property
    def scores(self) -> NDArray[np.float64]:
        """Scores of the images that could be read: (N,)."""
        return np.array(self._scores)

    @property
    def image_evidence(self) -> NDArray[np.float64] | None:
        """Their image evidence (N,), None unless all of them have some."""
        found = np.array(self._looks)
        return found if len(found) and len(found) == len(self._scores) else None

    def refuse_unscored(self) -> None:
        """Raise an `InputError` with the first reason where images could not be read."""
        if self._unscored:
            total = self._unscored + len(self._scores)
            raise InputError(f"{self._unscored} of {total} images have no score: {self._first}")


@contextmanager
def spooled() -> Iterator[TextIO]:
    """Yield a text file that is gone after the block; only a long one is on the disk."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8", newline="") as file:
        yield cast("TextIO", file)


def write_verdicts(
    file: TextIO, predictions: Iterable[Prediction], form: Format, explain: bool = False
) -> None:
    """Write verdicts in the order of the images, with a line break at the end.

    With `explain`, rows of JSONL and CSV have its columns (`detector.rows`); the table has none.
    """
    from synood.detector.rows import (
        CLEANVISION_COLUMNS,
        EXPLANATION_COLUMNS,
        cleanvision_row,
        prediction_row,
    )

    if form == "table":
        file.write(_table(predictions))
        return
    if form == "cleanvision":
        _write_csv(file, CLEANVISION_COLUMNS, map(cleanvision_row, predictions))
        return
    rows = (prediction_row(one, explain=explain) for one in predictions)
    if form == "jsonl":
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        return
    columns = (*_COLUMNS, *(EXPLANATION_COLUMNS if explain else ()))
    _write_csv(file, columns, ({**row, "is_ood": _lower(row["is_ood"])} for row in rows))


def _write_csv(file: TextIO, columns: tuple[str, ...], rows: Iterable[dict[str, Any]]) -> None:
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _lower(value: bool | None) -> str:
    return "" if value is None else str(value).lower()


def _table(predictions: Iterable[Prediction]) -> str:
    from synood.detector.rows import path_text
    from synood.files import printable

    cells = [["verdict", "p-value", "score", "nearest class", "image"]]
    cells += [
        ["error", "-", "-", "", printable(one.error)]
        if one.error
        else [
            _VERDICTS[one.is_ood],
            "-" if one.p_value is None else f"{one.p_value:.4f}",
            f"{one.score:.2f}",
            one.label,
            printable(path_text(one)),
        ]
        for one in predictions
    ]
    return table_text(cells)
