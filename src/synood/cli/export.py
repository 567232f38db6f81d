"""`synood export`: a detector as one file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from synood.cli.console import deliver
from synood.cli.options import Flag, MovedModels, Overwrite, Several  # noqa: TC001

if TYPE_CHECKING:
    from synood.deploy.exporting import Exported


def export(
    detector: Path,
    /,
    *,
    format: Literal["onnx"] = "onnx",
    out: Path | None = None,
    input: Annotated[Literal["image", "features"], Parameter(name="--input")] = "image",
    int8: Flag = False,
    images: Annotated[Several, Parameter(name="--images")] = (),
    overwrite: Overwrite = False,
    models: MovedModels = None,
) -> None:
    """Write a detector as one ONNX file, from the bytes of an image to its verdict.

    The file is compared with the detector before it is written. `synood score FILE.onnx` runs it \
without torch; so does any program with onnxruntime (see docs/exporting.md).

    Parameters
    ----------
    detector
        Directory of the detector, or its id OWNER/NAME on the Hugging Face hub.
    format
        Format of the file.
    out
        File to write; DETECTOR.onnx if not given (NAME.onnx for one on the hub).
    input
        What the file takes: images of any size, or features that the encoder made of them.
    int8
        Quantize the encoder to 8-bit integers: a smaller file, faster on CPUs, with scores \
that differ a little. The convolutional encoders need --images for it.
    images
        Images like those that the file will see, to set the ranges of --int8 and to compare the \
file with the detector: files, folders, a list file or a quoted pattern.
    """
    from synood.cli.inputs import load_detector
    from synood.cli.outputs import check_output_file
    from synood.deploy.exporting import check_packages, export_onnx
    from synood.images.listing import listed_images

    target = out or _beside(detector, format)
    check_output_file(target, overwrite, (detector, *images))
    check_packages()
    given = [record.path for record in listed_images(images).records] if images else []
    found = export_onnx(
        load_detector(detector, "cpu", models),
        target,
        input=input,
        precision="int8" if int8 else "float32",
        images=given,
    )
    deliver(_text(target, found))


def _beside(detector: Path, format: str) -> Path:
    """Return the place of a file that none is named for: beside a directory, else here."""
    if detector.is_dir():
        return Path(f"{detector.resolve()}.{format}")
    return Path(f"{detector.name.partition('@')[0]}.{format}")


def _text(path: Path, found: Exported) -> str:
    """Say what was written, and how close it is to the detector."""
    from synood.files import printable, readable

    compared = found.comparison
    return (
        f"{printable(readable(path))}: {found.size / 1e6:.1f} MB\n"
        f"verdicts differ from the detector's on {compared.differing} of {compared.images} "
        f"test inputs, scores by at most {compared.distance:.2g} (they range over "
        f"{compared.spread:.2g})\n"
    )
