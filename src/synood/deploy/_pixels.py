"""The preprocessing of an encoder as nodes of a graph: resized as Pillow does, cut, in [0, 1].

Pillow resizes in two passes, each of which rounds to bytes. onnxruntime's `Resize` of bytes with
`antialias` does the same with Pillow's filters; as it holds their weights in single precision, one
value in 10,000 (bicubic) or in 1,000 (bilinear) is another by one grey level. From version 13 on
Pillow takes the columns first where the height shrinks by more than twice as many pixels as the
width, so the graph does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synood.errors import InputError

if TYPE_CHECKING:
    from synood.deploy._graph import Graph
    from synood.images.presets import Preprocess

# Pillow's filters as attributes of `Resize`. The centre of a pixel is at half, as in Pillow; only
# pixels within the image count; Pillow's bicubic filter has a = -0.5.
_FILTERS: dict[str, dict[str, Any]] = {
    "bilinear": {"mode": "linear"},
    "bicubic": {"mode": "cubic", "cubic_coeff_a": -0.5},
}
COLUMNS_FIRST_FROM = 13  # Pillow's version


def check_steps(steps: Preprocess, name: str) -> None:
    """Raise an `InputError` that names the encoder where its preprocessing has no nodes."""
    if steps.interpolation not in _FILTERS:
        raise InputError(
            f"encoder {name!r}: cannot be exported, as ONNX has no {steps.interpolation} resizing, "
            f"only {', '.join(_FILTERS)}"
        )


def add_pixels(graph: Graph, steps: Preprocess, images: str) -> str:
    """Turn images (N, H, W, 3), bytes, into pixels (N, 3, S, S) in [0, 1]; return their name."""
    count, height, width = (_size(graph, images, axis) for axis in range(3))
    edge = graph.constant([steps.resize or steps.size], "int64")
    size = (edge, edge)
    if steps.crop != "squash":
        short = graph.op("Min", height, width)
        tall, wide = (graph.op("Div", graph.op("Mul", edge, old), short) for old in (height, width))
        size = (tall, wide)
    small = _cut(graph, steps, _resized(graph, steps, images, (count, height, width), size), size)
    planes = graph.op("Transpose", graph.cast(small, "float32"), perm=[0, 3, 1, 2])
    return graph.op("Div", planes, graph.constant(255, "float32"))


def _size(graph: Graph, images: str, axis: int) -> str:
    return graph.op("Shape", images, start=axis, end=axis + 1)


def _resized(
    graph: Graph,
    steps: Preprocess,
    images: str,
    shape: tuple[str, str, str],
    size: tuple[str, str],
) -> str:
    """Resize to (height, width), one direction after the other."""
    count, *old = shape
    channels = graph.constant([3], "int64")
    columns_first = _columns_first(graph, old, size)
    middle = [
        graph.op("Where", columns_first, size[0], old[0]),
        graph.op("Where", columns_first, old[1], size[1]),
    ]
    for height, width in (middle, size):
        target = graph.op("Concat", count, height, width, channels, axis=0)
        images = graph.op(
            *("Resize", images, "", "", target),
            antialias=1,
            coordinate_transformation_mode="half_pixel",
            exclude_outside=1,
            **_FILTERS[steps.interpolation],
        )
    return images


def _columns_first(graph: Graph, old: list[str], new: tuple[str, str]) -> str:
    """Whether Pillow resizes the columns before the rows."""
    from PIL import __version__ as pillow

    if int(pillow.partition(".")[0]) < COLUMNS_FIRST_FROM:
        return graph.constant([False], "bool")
    shrinks = [graph.op("Sub", *pair) for pair in zip(old, new, strict=True)]
    zero, two = (graph.constant([value], "int64") for value in (0, 2))
    return graph.op("Greater", shrinks[0], graph.op("Mul", two, graph.op("Max", shrinks[1], zero)))


def _cut(graph: Graph, steps: Preprocess, images: str, size: tuple[str, str]) -> str:
    """Cut the middle out, where `Preprocess` does."""
    side = graph.constant([steps.size], "int64")
    starts = [_start(graph, steps, graph.op("Sub", old, side)) for old in size]
    ends = [graph.op("Add", start, side) for start in starts]
    bounds = [graph.op("Concat", *both, axis=0) for both in (starts, ends)]
    return graph.op("Slice", images, *bounds, graph.constant([1, 2], "int64"))


def _start(graph: Graph, steps: Preprocess, margin: str) -> str:
    if steps.crop != "center":
        return graph.op("Div", margin, graph.constant([2], "int64"))
    half = graph.op("Div", graph.cast(margin, "float64"), graph.constant([2.0], "float64"))
    return graph.cast(graph.op("Round", half), "int64")  # a half to the even, as in Python
