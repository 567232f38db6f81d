"""An encoder's image side as an ONNX model, through torch's exporter."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from typing import TYPE_CHECKING

from synood.deploy._graph import IR_VERSION, OPSET
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import ModelProto

    from synood.models.image_network import ImageNetwork

LARGEST = 2**31 - 2**24  # bytes: an ONNX file is one protobuf message, which ends at 2 GiB
EXAMPLE = 2  # images in the batch that is traced; 1 would be taken for a fixed number


def network_model(network: ImageNetwork, name: str) -> ModelProto:
    """Return pixels (N, 3, S, S) in [0, 1] -> features (N, D) as an ONNX model.

    It holds nothing of this machine. A network that is too large for one file, or that torch's
    exporter cannot write down, is an `InputError` that names the encoder.
    """
    import torch

    size = sum(tensor.numel() * tensor.element_size() for tensor in network.parameters())
    if size > LARGEST:
        raise InputError(
            f"encoder {name!r}: {size / 2**30:.1f} GiB of weights are more than the 2 GiB that one "
            "ONNX file holds; choose a smaller encoder"
        )
    side = network.preprocess.size
    pixels = torch.zeros(EXAMPLE, 3, side, side)
    try:
        with _quiet():
            program = torch.onnx.export(
                network,
                (pixels,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("images")},),
                input_names=["pixels"],
                output_names=["features"],
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        raise InputError(f"encoder {name!r}: cannot be exported ({reason})") from error
    assert program is not None
    return _plain(program.model_proto, name)


def _plain(model: ModelProto, name: str) -> ModelProto:
    """Inline functions, and drop what tells of the machine that exported the model."""
    import onnx

    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    others = [opset.domain for opset in model.opset_import if opset.domain]
    used = {node.domain for node in model.graph.node if node.domain}
    if used or {opset.version for opset in model.opset_import if not opset.domain} != {OPSET}:
        raise InputError(f"encoder {name!r}: needs operators beyond ONNX's own ({used or others})")
    model.ir_version = IR_VERSION
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let the exporter tell nothing: neither its steps nor remarks on other packages."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            open(os.devnull, "w", encoding="utf-8") as nothing,  # noqa: PTH123 - a device
            contextlib.redirect_stdout(nothing),
        ):
            yield
    finally:
        logging.disable(before)
