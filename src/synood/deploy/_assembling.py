"""The whole graph of a detector, from an image's bytes to the verdict, with its metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING

import synood
from synood.deploy._graph import Graph
from synood.deploy._metadata import Metadata
from synood.deploy._network import network_model
from synood.deploy._pixels import add_pixels, check_steps
from synood.deploy._verdicts import add_verdicts
from synood.detector.identity import detector_fingerprint
from synood.errors import InputError
from synood.features.unreadable import Unreadable, map_or_unreadable
from synood.images.inputs import as_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import ModelProto

    from synood.deploy._metadata import Input, Precision
    from synood.detector import OODDetector
    from synood.images.inputs import ImageInput
    from synood.images.presets import Preprocess
    from synood.models.image_network import ImageNetwork


def detector_model(
    detector: OODDetector, input: Input, precision: Precision, images: Sequence[ImageInput]
) -> ModelProto:
    """Return the graph of a detector; `images` set the ranges of an int8 network."""
    graph, steps = Graph(), None
    if input == "features":
        if precision != "float32":
            raise InputError("--int8: is of the encoder, which --input features leaves out")
        dim = detector.class_features.shape[1]
        features = graph.input("image_features", "float32", ["images", dim])
    else:
        features, steps = _add_encoder(graph, detector, precision, images)
    add_verdicts(graph, detector, features)
    return graph.model("detector", _metadata(detector, input, precision, steps).to_strings())


def _add_encoder(
    graph: Graph, detector: OODDetector, precision: Precision, images: Sequence[ImageInput]
) -> tuple[str, Preprocess]:
    """Add everything from the input `images` to the features; return their name."""
    from synood.models.image_network import image_network

    if detector.backbone.is_absent:
        raise InputError(
            "the detector was made from features and has no encoder; export what it makes of "
            "features (--input features)"
        )
    encoder = detector.backbone.load()
    network = image_network(encoder)
    steps = network.preprocess
    check_steps(steps, encoder.name)
    model = network_model(network, encoder.name)
    if precision == "int8":
        model = _in_8_bits(model, network, images)
    pixels = add_pixels(graph, steps, graph.input("images", "uint8", ["images", *_SIZE]))
    return graph.embed(model, pixels, "encoder"), steps


_SIZE = ("height", "width", 3)


def _in_8_bits(
    model: ModelProto, network: ImageNetwork, images: Sequence[ImageInput]
) -> ModelProto:
    from synood.deploy._quantizing import needs_images, quantized

    steps = network.preprocess
    found = map_or_unreadable(
        lambda image: steps.pixels(as_image(image, reading=steps.reading)), images
    )
    pixels = [one for one in found if not isinstance(one, Unreadable)]
    if needs_images(model) and not pixels:
        raise InputError(
            "--int8: a network of convolutions needs images like those that it will see, to set "
            "the ranges of its numbers; give some (--images FOLDER)"
        )
    return quantized(model, pixels)


def _metadata(
    detector: OODDetector, input: Input, precision: Precision, steps: Preprocess | None
) -> Metadata:
    thresholds = [detector.threshold_of(row) for row in range(len(detector.class_names))]
    known = [value for value in thresholds if value is not None]
    return Metadata(
        synood=synood.__version__,
        detector=detector_fingerprint(detector),
        encoder=detector.backbone.bundle,
        input=input,
        precision=precision,
        preprocess="" if steps is None else _described(steps),
        plain=steps is not None and steps.plain,
        reduced=0 if steps is None else steps.reading.side,
        resize=0 if steps is None or steps.crop == "squash" else steps.resize or steps.size,
        class_names=detector.class_names,
        negative_labels=len(detector.negative_prompts),
        thresholds=tuple(known[:1] if len({*known}) < 2 else known),
        calibration=detector.calibration,
    )


def _described(steps: Preprocess) -> str:
    """Say what the graph does to an image."""
    edge = steps.resize or steps.size
    what = "both sides" if steps.crop == "squash" else "shorter side"
    return f"{steps.interpolation}, {what} to {edge}, middle {steps.size} x {steps.size}"
