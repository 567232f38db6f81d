"""A graph that is written node by node: names are given in order, so equal graphs are equal bytes.

Opset 18 is the first whose `Resize` widens its filters where an image shrinks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike
    from onnx import ModelProto, NodeProto, ValueInfoProto

OPSET, IR_VERSION = 18, 10  # onnxruntime from 1.18 on reads both
KINDS = {
    "uint8": TensorProto.UINT8,
    "int64": TensorProto.INT64,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "bool": TensorProto.BOOL,
}


class Graph:
    """Nodes, constants, inputs and outputs; what is named twice is a fault of the caller."""

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        self._inputs: list[ValueInfoProto] = []
        self._outputs: list[ValueInfoProto] = []
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401
        """Add a node with one output, whose name is returned; "" is an input left out."""
        name = f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, values: ArrayLike, kind: str) -> str:
        """Add a constant of a kind of `KINDS`; equal ones are stored once."""
        array = np.ascontiguousarray(np.asarray(values, kind))
        key = (kind, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = f"constant_{len(self._constants)}"
            self._constants.append(numpy_helper.from_array(array, self._known[key]))
        return self._known[key]

    def cast(self, value: str, kind: str) -> str:
        """Convert to a kind of `KINDS`."""
        return self.op("Cast", value, to=KINDS[kind])

    def doubles(self, values: ArrayLike) -> str:
        """Add numbers of single precision, to compute with in double."""
        return self.cast(self.constant(values, "float32"), "float64")

    def along(self, kind: str, value: str, axis: int, *, keep: bool = False) -> str:
        """Reduce along one axis by `kind`, such as "ReduceSum"."""
        return self.op(kind, value, self.constant([axis], "int64"), keepdims=int(keep))

    def input(
        self, name: str, kind: str, shape: Sequence[int | str], default: ArrayLike | None = None
    ) -> str:
        """Add an input; one with a default may be left out by who runs the graph."""
        self._inputs.append(helper.make_tensor_value_info(name, KINDS[kind], shape))
        if default is not None:
            self._constants.append(numpy_helper.from_array(np.asarray(default, kind), name))
        return name

    def output(self, name: str, value: str, kind: str, shape: Sequence[int | str]) -> None:
        """Call a value by the name of an output."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name=name))
        self._outputs.append(helper.make_tensor_value_info(name, KINDS[kind], shape))

    def embed(self, model: ModelProto, value: str, prefix: str) -> str:
        """Put in a model of one input and one output; return its output for the input `value`."""
        graph = model.graph
        names = {graph.input[0].name: value, "": ""}

        def renamed(name: str) -> str:
            return names.setdefault(name, f"{prefix}_{len(names)}")

        for tensor in graph.initializer:
            copied = TensorProto()
            copied.CopyFrom(tensor)
            copied.name = renamed(tensor.name)
            self._constants.append(copied)
        for node in graph.node:
            outputs = [renamed(name) for name in node.output]
            new = helper.make_node(node.op_type, [renamed(name) for name in node.input], outputs)
            new.name, new.domain = outputs[0], node.domain
            new.attribute.extend(node.attribute)
            self._nodes.append(new)
        return names[graph.output[0].name]

    def model(self, name: str, metadata: dict[str, str]) -> ModelProto:
        """Return the whole as a model."""
        graph = helper.make_graph(
            self._nodes, name, self._inputs, self._outputs, initializer=self._constants
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        model.producer_name = "synood"
        helper.set_model_props(model, metadata)
        return model
