"""Features computed elsewhere, in a safetensors file: the door for everybody else's models.

Tensors: `features` (N, D); to make a detector also `labels` (N,) int64, and if there are texts
`text_features` (C, D) and `negative_features` (M, D). Names stand in the file's metadata, each as
JSON, or in a JSON file beside it (photos.json beside photos.safetensors), which takes precedence:
`class_names` (C texts), `labels` (N texts, in place of the tensor), `negative_labels` (M texts),
`ids` (N texts) and `logit_scale` (a number).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synood.errors import InputError
from synood.files import check_bounded, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

LARGEST = 2**36  # bytes of a file: 30 million features of CLIP
TENSORS = ("features", "labels", "text_features", "negative_features")
NAMES = ("class_names", "labels", "negative_labels", "ids")  # lists of texts
NUMBER = "logit_scale"


@dataclass(frozen=True, eq=False)
class FeatureFile:
    """What a file of features holds; `labels` are numbers (N,) int64 or names."""

    path: Path
    features: NDArray[np.float32]
    labels: NDArray[np.int64] | list[str] | None = None
    class_names: list[str] | None = None
    text_features: NDArray[np.float32] | None = None
    negative_features: NDArray[np.float32] | None = None
    negative_labels: list[str] | None = None
    ids: list[str] | None = None
    logit_scale: float | None = None

    def names(self) -> list[str]:
        """Return a name for each row: its id, or the file with its number."""
        return self.ids or [f"{self.path.name}#{row}" for row in range(len(self.features))]


def read_features(path: Path) -> FeatureFile:
    """Read and check a file of features; what does not fit is an `InputError` that names it."""
    tensors, words = _read(path)
    unknown = sorted(set(tensors) - set(TENSORS))
    if unknown:
        raise InputError(f"{path}: unknown tensor {unknown[0]!r}; known are {', '.join(TENSORS)}")
    if "features" not in tensors:
        raise InputError(f"{path}: has no tensor `features` (N, D)")
    rows = {
        name: _rows(path, name, tensors[name])
        for name in ("features", "text_features", "negative_features")
        if name in tensors
    }
    count = len(rows["features"])
    labels: NDArray[np.int64] | list[str] | None = words.get("labels")
    if labels is None and "labels" in tensors:
        labels = _numbers(path, tensors["labels"])
    for name, values in (("labels", labels), ("ids", words.get("ids"))):
        if values is not None and len(values) != count:
            raise InputError(f"{path}: {len(values)} {name} for {count} features")
    return FeatureFile(
        path,
        rows["features"],
        labels,
        words.get("class_names"),
        rows.get("text_features"),
        rows.get("negative_features"),
        words.get("negative_labels"),
        words.get("ids"),
        words.get(NUMBER),
    )


def _read(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the tensors, and the names and numbers beside them."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(f"{path}: is no file; give a safetensors file of features")
    check_bounded(path, LARGEST)
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not readable as safetensors ({error})") from None
    beside = path.with_suffix(".json")
    words = _parsed(path, metadata)
    if beside.is_file():
        found = read_json(beside)
        if not isinstance(found, dict):
            raise InputError(f"{beside}: must be an object with the names {', '.join(NAMES)}")
        words |= found
        path = beside
    return tensors, _checked(path, words)


def _parsed(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    words = {}
    for name in (*NAMES, NUMBER):
        if name in metadata:
            try:
                words[name] = json.loads(metadata[name])
            except ValueError as error:
                raise InputError(f"{path}: metadata {name!r} is not JSON ({error})") from None
    return words


def _checked(path: Path, words: Mapping[str, Any]) -> dict[str, Any]:
    """Return the known entries, each of its kind."""
    unknown = sorted(set(words) - {*NAMES, NUMBER})
    if unknown:
        raise InputError(f"{path}: unknown entry {unknown[0]!r}; known are {', '.join(NAMES)}")
    for name in NAMES:
        value = words.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise InputError(f"{path}: {name} must be a list of texts")
    scale = words.get(NUMBER, 1.0)
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < 1e30:
        raise InputError(f"{path}: {NUMBER} must be a number above 0, not {scale!r}")
    return dict(words)


def _rows(path: Path, name: str, values: NDArray[Any]) -> NDArray[np.float32]:
    if values.ndim != 2 or values.dtype.kind != "f" or 0 in values.shape:
        raise InputError(
            f"{path}: {name} should be floating point (rows, D), not {values.dtype} {values.shape}"
        )
    rows = values.astype(np.float32)
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(f"{path}: {name}: row {row} holds a number that is not finite")
    return rows


def _numbers(path: Path, values: NDArray[Any]) -> NDArray[np.int64]:
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise InputError(f"{path}: labels should be int64 (N,), not {values.dtype} {values.shape}")
    return values.astype(np.int64)
