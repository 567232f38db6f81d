"""What an exported file says of itself: strings beside the graph, read without running it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from synood.detector.calibration import Calibration
from synood.errors import CheckpointError
from synood.images.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FORMAT, SCHEMA = "synood-onnx", 1
Input: TypeAlias = Literal["image", "features"]
Precision: TypeAlias = Literal["float32", "int8"]


@dataclass(frozen=True)
class Metadata:
    """The strings of an exported file, as values.

    `detector` is a fingerprint of the detector, `encoder` the name of its bundle, `preprocess` what
    the graph does to images ("" where features are given), `plain` how files are to be read
    (`images.decoding.read_image`), `reduced` the least side of a JPEG that is decoded at a reduced
    size (0: whole), `resize` the length of the shorter side before the crop (0: the image is
    squashed). `thresholds` are the detector's, in double precision: none, one, or one for
    each class.
    """

    synood: str
    detector: str
    encoder: str
    input: Input
    precision: Precision
    preprocess: str
    plain: bool
    reduced: int
    resize: int
    class_names: tuple[str, ...]
    negative_labels: int
    thresholds: tuple[float, ...]
    calibration: Calibration | None

    @property
    def reading(self) -> Reading:
        """How files are read for the graph."""
        return Reading(self.plain, self.reduced)

    def to_strings(self) -> dict[str, str]:
        """Return the strings: texts as they are, all else as JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["calibration"] = _packed(self.calibration)
        texts = {
            name: value
            if isinstance(value, str)
            else json.dumps(value, ensure_ascii=False, allow_nan=False)
            for name, value in values.items()
        }
        return {"format": FORMAT, "schema": str(SCHEMA), **texts}

    @classmethod
    def from_strings(cls, found: Mapping[str, str], name: str) -> Metadata:
        """Read what `to_strings` made; anything else is a `CheckpointError` about the file."""
        if found.get("format") != FORMAT:
            raise CheckpointError(f"{name}: is no detector that `synood export` wrote")
        if found.get("schema") != str(SCHEMA):
            raise CheckpointError(
                f"{name}: schema {found.get('schema')} is not known to this version of synood, "
                f"which reads {SCHEMA}; export the detector again"
            )
        try:
            return cls(
                **{key: found[key] for key in _TEXTS},  # type: ignore[arg-type]
                plain=bool(json.loads(found["plain"])),
                reduced=int(json.loads(found.get("reduced", "0"))),  # earlier files have none
                resize=int(json.loads(found["resize"])),
                class_names=tuple(map(str, json.loads(found["class_names"]))),
                negative_labels=int(json.loads(found["negative_labels"])),
                thresholds=tuple(map(float, json.loads(found["thresholds"]))),
                calibration=_unpacked(json.loads(found["calibration"])),
            )
        except (KeyError, ValueError, TypeError, RecursionError) as error:
            raise CheckpointError(f"{name}: its metadata are damaged ({error!r})") from None


_TEXTS = ("synood", "detector", "encoder", "input", "precision", "preprocess")
_ARRAYS = {"scores": np.float32, "labels": np.int64, "image_evidence": np.float32}
_FLAGS = ("per_class", *_ARRAYS)  # of `Calibration.to_json`: which arrays there are


def _packed(found: Calibration | None) -> dict[str, Any] | None:
    """Return a calibration as JSON values, its arrays as base64 of little-endian numbers."""
    if found is None:
        return None
    arrays = {name: getattr(found, name) for name in _ARRAYS}
    plain = {name: value for name, value in found.to_json().items() if name not in _FLAGS}
    return {**plain, **{name: _text(array) for name, array in arrays.items()}}


def _text(array: NDArray[Any] | None) -> str | None:
    if array is None:
        return None
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()


def _unpacked(found: dict[str, Any] | None) -> Calibration | None:
    if found is None:
        return None
    for name, kind in _ARRAYS.items():
        if found[name] is not None:
            data = base64.b64decode(found[name], validate=True)
            found[name] = np.frombuffer(data, np.dtype(kind).newbyteorder("<")).astype(kind)
    return Calibration(**found)
