"""Files of verdicts that `synood score` wrote as JSONL or CSV, read back for comparisons."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from synood.detector.watching import Observed
from synood.errors import InputError
from synood.files import read_jsonl, read_text, readable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

LARGEST = 1e30  # a score in single precision, with room for differences
_VERDICTS = {"true": True, "false": False, "": None}


def read_verdicts(path: Path, class_names: Collection[str]) -> Observed:
    """Return what a file of verdicts says of its images, in their order.

    An image with an error instead of a score is counted as unreadable. An `InputError` names the
    file and the line of a row that is of another form, or whose label is none of `class_names`,
    and a file without a score.
    """
    known, rows, unreadable = frozenset(class_names), [], 0
    for line, row in _rows(path):
        where = f"{readable(path)}, line {line}"
        if "score" not in row:
            raise InputError(f"{where}: has no `score`; give a file that `synood score` wrote")
        if row["score"] in (None, ""):
            unreadable += 1
            continue
        rows.append(_checked(row, known, where))
    if not rows:
        raise InputError(f"{readable(path)}: none of its {unreadable} images has a score")
    scores, looks, labels, verdicts = zip(*rows, strict=True)
    return Observed(
        np.array(scores, np.float32),
        _together(looks, path),
        None if None in labels else labels,
        verdicts,
        unreadable,
    )


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield each row with its line, from 1; JSONL begins with a brace, whatever its name."""
    text = read_text(path)
    if not text.strip():
        raise InputError(f"{readable(path)}: is empty; give a file that `synood score` wrote")
    if text.lstrip().startswith("{"):
        yield from enumerate(read_jsonl(path), start=1)
        return
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        if "score" not in (reader.fieldnames or ()):
            raise InputError(
                f"{readable(path)}, line 1: has no column `score`; give a file that `synood score` "
                "wrote as JSONL or CSV"
            )
        for row in reader:
            if None in row or None in row.values():
                raise InputError(
                    f"{readable(path)}, line {reader.line_num}: has another number of fields than "
                    "the first line"
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise InputError(
            f"{readable(path)}, line {reader.line_num}: not readable as CSV ({error})"
        ) from None


def _checked(
    row: Mapping[str, Any], class_names: Collection[str], where: str
) -> tuple[float, float | None, str | None, bool | None]:
    """Return score, image evidence, label and verdict of a row."""
    looks, label, is_ood = (row.get(name) for name in ("image_evidence", "label", "is_ood"))
    if isinstance(is_ood, str):
        is_ood = _VERDICTS.get(is_ood, is_ood)
    if is_ood is not None and not isinstance(is_ood, bool):
        raise InputError(f"{where}: `is_ood` must be true, false or nothing, not {_shown(is_ood)}")
    label = None if label == "" else label
    if label is not None and not (isinstance(label, str) and label in class_names):
        raise InputError(
            f"{where}: the label {_shown(label)} is none of the detector's "
            f"{len(class_names)} classes; give files that this detector scored"
        )
    return (
        _number(row["score"], "score", where),
        None if looks in (None, "") else _number(looks, "image_evidence", where),
        label,
        is_ood,
    )


def _number(value: object, name: str, where: str) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError  # though float() takes it
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{where}: `{name}` is {_shown(value)}, not a number") from None
    if not math.isfinite(number) or abs(number) > LARGEST:
        raise InputError(f"{where}: `{name}` is {_shown(value)}: not finite, or too large")
    return number


def _together(looks: Sequence[float | None], path: Path) -> np.ndarray[Any, Any] | None:
    """Return the image evidence of all rows or of none."""
    found = [value for value in looks if value is not None]
    if found and len(found) < len(looks):
        raise InputError(
            f"{readable(path)}: only {len(found):,} of {len(looks):,} images have "
            "`image_evidence`; give a file that one detector scored"
        )
    return np.array(found, np.float32) if found else None


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:40]}..."
