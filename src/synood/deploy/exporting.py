"""A detector as one ONNX file: from an image's bytes to its score, p-value and verdict."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from synood.errors import InputError
from synood.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from synood.deploy._comparing import Comparison
    from synood.deploy._metadata import Input, Precision
    from synood.detector import OODDetector
    from synood.images.inputs import ImageInput

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
LEARN = 128  # images, evenly spread, that set the ranges of an int8 network
LOOK = 64  # others on which a file is compared with the detector


@dataclass(frozen=True)
class Exported:
    """What was written: the size in bytes, and how its predictions compare with the detector's."""

    size: int
    comparison: Comparison


def export_onnx(
    detector: OODDetector,
    path: Path,
    *,
    input: Input = "image",
    precision: Precision = "float32",
    images: Sequence[ImageInput] = (),
) -> Exported:
    """Write `detector` as an ONNX file, which is compared with it before it has its name.

    `input` is what the file takes: an "image", or "features" as the encoder gives them, which is
    all that a detector without an encoder can take. `precision` "int8" brings the encoder to whole
    numbers of 8 bits, for CPUs; a network of convolutions then needs `images` like those that it
    will see. The comparison is on some of `images`, or on made-up ones. The same detector and
    images give the same bytes on one machine.

    Images that cannot be read are left out. An encoder that cannot be exported and missing packages
    are an `InputError`; a file whose scores are not the detector's is an `ExportError`. Neither
    writes.
    """
    check_packages()
    from synood.deploy._assembling import detector_model
    from synood.deploy._comparing import compare

    learn, look = _divided(images)
    model = detector_model(detector, input, precision, learn)
    data = model.SerializeToString(deterministic=True)
    found = compare(detector, data, input, look)
    found.check(precision)
    write_bytes(path, data)
    return Exported(len(data), found)


def check_packages() -> None:
    """Raise an `InputError` that says what to install for an export."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(f"export needs {', '.join(missing)}: pip install 'synood[onnx]'")


def _divided(images: Sequence[ImageInput]) -> tuple[list[ImageInput], list[ImageInput]]:
    """Return images to set ranges by and others to compare on: of a single one the same."""
    learn, look = images[::2], images[1::2] or images
    return _evenly(learn, LEARN), _evenly(look, LOOK)


def _evenly(images: Sequence[ImageInput], most: int) -> list[ImageInput]:
    """Return at most so many of the images, evenly spread."""
    chosen = min(len(images), most)
    return [images[place * len(images) // chosen] for place in range(chosen)]
