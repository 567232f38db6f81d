"""A detector as one ONNX file: from an image's bytes to its score, p-value and verdict."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import synood
from synood.errors import InputError
from synood.files import fingerprint, sha256_bytes, write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from onnx import ModelProto

    from synood.deploy._comparing import Comparison
    from synood.deploy._graph import Graph
    from synood.deploy._metadata import Input
    from synood.detector import OODDetector
    from synood.images.presets import Preprocess

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class Exported:
    """What was written: the size in bytes, and how its predictions compare with the detector's."""

    size: int
    comparison: Comparison


def export_onnx(detector: OODDetector, path: Path, *, input: Input = "image") -> Exported:
    """Write `detector` as an ONNX file, which is compared with it before it has its name.

    `input` is what the file takes: an "image", or "features" as the encoder gives them, which is
    all that a detector without an encoder can take. The same detector gives the same bytes on one
    machine. An encoder that cannot be exported, and missing packages, are an `InputError`; a file
    that scores otherwise than the detector is an `ExportError`, and is not written.
    """
    check_packages()
    from synood.deploy._comparing import compare

    data = onnx_model(detector, input).SerializeToString(deterministic=True)
    found = compare(detector, data, input)
    found.check()
    write_bytes(path, data)
    return Exported(len(data), found)


def check_packages() -> None:
    """Raise an `InputError` that says what to install for an export."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(f"export needs {', '.join(missing)}: pip install 'synood[onnx]'")


def onnx_model(detector: OODDetector, input: Input) -> ModelProto:
    """Return the graph of a detector with its metadata; see `export_onnx`."""
    from synood.deploy._graph import Graph
    from synood.deploy._verdicts import add_verdicts

    graph, steps = Graph(), None
    if input == "features":
        dim = detector.class_features.shape[1]
        features = graph.input("image_features", "float32", ["images", dim])
    else:
        features, steps = _add_encoder(graph, detector)
    add_verdicts(graph, detector, features)
    return graph.model("detector", _metadata(detector, input, steps))


def _add_encoder(graph: Graph, detector: OODDetector) -> tuple[str, Preprocess]:
    """Add everything from the input `images` to the features."""
    from synood.deploy._network import network_model
    from synood.deploy._pixels import add_pixels, check_steps
    from synood.models.image_network import image_network

    if detector.backbone.is_absent:
        raise InputError(
            "the detector was made from features and has no encoder; export what it makes of "
            "features (--input features)"
        )
    encoder = detector.backbone.load()
    network = image_network(encoder)
    check_steps(network.preprocess, encoder.name)
    model = network_model(network, encoder.name)
    images = graph.input("images", "uint8", ["images", "height", "width", 3])
    pixels = add_pixels(graph, network.preprocess, images)
    return graph.embed(model, pixels, "encoder"), network.preprocess


def _metadata(detector: OODDetector, input: Input, steps: Preprocess | None) -> dict[str, str]:
    from synood.deploy._metadata import Metadata

    thresholds = [detector.threshold_of(row) for row in range(len(detector.class_names))]
    known = [value for value in thresholds if value is not None]
    return Metadata(
        synood=synood.__version__,
        detector=detector_fingerprint(detector),
        encoder=detector.backbone.bundle,
        input=input,
        precision="float32",
        preprocess="" if steps is None else _described(steps),
        plain=steps is not None and steps.plain,
        resize=0 if steps is None or steps.crop == "squash" else steps.resize or steps.size,
        class_names=detector.class_names,
        negative_labels=len(detector.negative_prompts),
        thresholds=tuple(known[:1] if len({*known}) < 2 else known),
        calibration=detector.calibration,
    ).to_strings()


def _described(steps: Preprocess) -> str:
    """Say what the graph does to an image."""
    edge = steps.resize or steps.size
    what = "both sides" if steps.crop == "squash" else "shorter side"
    return f"{steps.interpolation}, {what} to {edge}, middle {steps.size} x {steps.size}"


def detector_fingerprint(detector: OODDetector) -> str:
    """Return sixteen hex digits that change with everything that a score or verdict depends on."""
    parts: dict[str, np.ndarray] = {
        "class_features": detector.class_features,
        "negative_features": detector.negative_features,
    }
    for part in (detector.projection, detector.image_evidence):
        if part is not None:
            parts |= {f"{type(part).__name__}.{k}": v for k, v in part.to_tensors().items()}
    found = detector.calibration
    if found is not None and found.scores is not None:
        parts["calibration.scores"] = found.scores
        if found.labels is not None:
            parts["calibration.labels"] = found.labels
    return fingerprint(
        detector.class_names,
        detector.backbone.fingerprint,
        repr(detector.settings),
        repr(detector.threshold),
        {name: sha256_bytes(array.tobytes()) for name, array in parts.items()},
    )
