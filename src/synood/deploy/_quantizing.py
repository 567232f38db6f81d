"""An encoder's network in 8-bit integers, for CPUs.

A network of convolutions needs images, on which the range of every activation is seen (static
quantization); weights have a scale for each output channel. Its first layers stay in single
precision: they have few channels of very different ranges, and cost little. A transformer is
quantized as it runs (dynamic), which needs no images.

Weights of matrix products have 7 bits. With 8, sums of two products overflow on x86 processors
without VNNI instructions, where the file would score otherwise than where it was made. Those of
depthwise convolutions, which overflow nowhere, have 8.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synood.deploy._graph import IR_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

    Floats = NDArray[np.float32]

KEPT = 6  # first convolutions that stay in single precision
PATCHES = 1  # convolutions of a transformer, which cuts its patches by one


def needs_images(model: ModelProto) -> bool:
    """Whether a network must see images to be quantized."""
    return len(_convolutions(model)) > PATCHES


def quantized(model: ModelProto, pixels: Sequence[Floats]) -> ModelProto:
    """Return a network, pixels (N, 3, S, S) in [0, 1] -> features, with weights of 8 bits.

    `pixels` are images (3, S, S) like those that it will see; a transformer needs none.
    """
    from onnx import load

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "single.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(model.SerializeToString())
        level = logging.root.manager.disable
        logging.disable(logging.CRITICAL)  # advice on shapes, which are known here
        try:
            if needs_images(model):
                _static(model, source, target, pixels)
            else:
                _dynamic(source, target)
        finally:
            logging.disable(level)
        result = load(target)
    result.ir_version = IR_VERSION
    return result


def _static(model: ModelProto, source: Path, target: Path, pixels: Sequence[Floats]) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    convolutions = _convolutions(model)
    whole = {"quant_type": QuantType.QInt8, "axis": 0, "reduce_range": False}
    depthwise = [node.input[1] for node in convolutions[KEPT:] if _is_depthwise(node)]
    quantize_static(
        source,
        target,
        _Reader(pixels),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=[node.name for node in convolutions[:KEPT]],
        extra_options={"TensorQuantOverrides": {name: [whole] for name in depthwise}},
    )


def _dynamic(source: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        source,
        target,
        op_types_to_quantize=["MatMul", "Gemm"],
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
    )


def _convolutions(model: ModelProto) -> list[NodeProto]:
    return [node for node in model.graph.node if node.op_type == "Conv"]


def _is_depthwise(node: NodeProto) -> bool:
    return any(part.name == "group" and part.i > 1 for part in node.attribute)


class _Reader:
    """Hands out images one at a time, as onnxruntime's calibration asks for them."""

    def __init__(self, pixels: Sequence[Floats]) -> None:
        self._rows: Iterator[Floats] = iter(pixels)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next batch of one, None at the end."""
        row = next(self._rows, None)
        return None if row is None else {"pixels": row[None]}
