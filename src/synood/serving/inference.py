"""The Open Inference Protocol (KServe v2): requests and answers, in JSON and with binary tensors.

https://github.com/kserve/open-inference-protocol, and Triton's extension for binary tensor data:
behind the JSON, whose length is in the header Inference-Header-Content-Length, tensors follow as
bytes; an element of BYTES is its length in four bytes, little-endian, and itself.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from pydantic import ValidationError

from synood.serving.faults import RequestError, malformed, too_large
from synood.serving.schemas import InferInput, InferRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    from synood.detector import Prediction
    from synood.serving.served import Served

    T = TypeVar("T")

HEADER_LENGTH = "Inference-Header-Content-Length"
BINARY = "application/octet-stream"
_MARKS = 4096  # of JSON's brackets and commas; more may take many times their bytes in memory
_LENGTH = 4  # bytes of the length of an element of BYTES


@dataclass(frozen=True)
class _Output:
    """An output tensor (N,): its type there and here, and where its numbers are from."""

    name: str
    datatype: str
    dtype: str
    value: Callable[[Prediction], Any]


_OUTPUTS = (
    _Output("score", "FP32", "<f4", lambda found: float(f"{found.score:.9g}")),
    _Output("p_value", "FP64", "<f8", lambda found: found.p_value),
    _Output("is_ood", "BOOL", "?", lambda found: found.is_ood),
    _Output("label", "BYTES", "", lambda found: found.label),
)


@dataclass(frozen=True)
class Inference:
    """A request that was understood: encoded images, and the outputs wanted, each binary or not."""

    id: str | None
    images: tuple[bytes, ...]
    outputs: tuple[tuple[str, bool], ...]


def described_model(served: Served) -> dict[str, Any]:
    """Return the metadata of a model."""
    return {
        "name": served.name,
        "platform": "synood",
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": one.name, "datatype": one.datatype, "shape": [-1]}
            for one in _outputs_of(served)
        ],
    }


def _outputs_of(served: Served) -> list[_Output]:
    """Return what a detector can say: without calibration scores there are no p-values."""
    found = served.detector.calibration
    known = found is not None and found.scores is not None
    return [one for one in _OUTPUTS if one.name != "p_value" or known]


def read_inference(
    body: bytearray, header_length: str | None, served: Served, most: int
) -> Inference:
    """Read a request for at most `most` images; a `RequestError` says what is wrong with it."""
    end = _header_end(body, header_length)
    request = _request(bytes(memoryview(body)[:end]))
    given = request.inputs[0]
    binary_size = given.parameters.get("binary_data_size")
    if "shared_memory_region" in given.parameters:
        raise malformed("inputs.0: shared memory is not supported; send the images")
    if binary_size is None:
        images = _base64_images(given, most)
        binary_size = 0
    else:
        if type(binary_size) is not int or end + binary_size != len(body) or given.data is not None:
            raise malformed(
                f"inputs.0: binary_data_size must be the {len(body) - end} bytes behind the JSON, "
                "and `data` left out"
            )
        images = _binary_images(memoryview(body)[end:], most)
    if end + binary_size != len(body):
        raise malformed(f"{len(body) - end} bytes follow the JSON, which announces none")
    if not images or len(images) != math.prod(given.shape):
        raise malformed(f"inputs.0: {len(images)} images for the shape {given.shape}")
    return Inference(request.id, tuple(images), _wanted(request, served))


def _header_end(body: bytearray, header_length: str | None) -> int:
    if header_length is None:
        return len(body)
    if not header_length.isascii() or not header_length.isdecimal():
        raise malformed(f"{HEADER_LENGTH}: must be a number of bytes")
    if len(header_length) > 12 or int(header_length) > len(body):
        raise malformed(f"{HEADER_LENGTH}: more bytes than the {len(body)} of the body")
    return int(header_length)


def _request(data: bytes) -> InferRequest:
    if sum(data.count(mark) for mark in (b"[", b"{", b",")) > _MARKS:
        raise too_large("the JSON has too many values; put each image into one base64 text")
    try:
        return InferRequest.model_validate(json.loads(data, parse_constant=_refuse_constant))
    except ValidationError as error:
        raise malformed(sentence_of(error.errors()[0])) from None
    except (ValueError, RecursionError) as error:
        raise malformed(f"the body is not JSON: {error}") from None


def sentence_of(error: Any) -> str:  # noqa: ANN401 - pydantic's
    """Return what pydantic found wrong as "inputs.0.shape: field required"."""
    place = ".".join(str(part) for part in error["loc"])
    told = error["msg"]
    return f"{place or 'the body'}: {told[:1].lower()}{told[1:]}"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _base64_images(given: InferInput, most: int) -> list[bytes]:
    if given.data is None:
        raise malformed("inputs.0: data: is missing; send images as base64, or as binary tensors")
    values = _flat(given.data, len(given.shape))
    return [_from_base64(value) for value in _at_most(values, most)]


def _flat(values: Sequence[Any], depth: int) -> Iterator[Any]:
    """Yield the elements of lists in lists, which a tensor of several dimensions may be."""
    for value in values:
        if isinstance(value, list) and depth > 1:
            yield from _flat(value, depth - 1)
        else:
            yield value


def _from_base64(value: object) -> bytes:
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise malformed("inputs.0: data: each element must be the base64 text of an image file")


def _binary_images(data: memoryview, most: int) -> list[bytes]:
    return [*_at_most(_elements(data), most)]


def _elements(data: memoryview) -> Iterator[bytes]:
    place = 0
    while place < len(data):
        start = place + _LENGTH
        place = start + int.from_bytes(data[place:start], "little")
        if start > len(data) or place > len(data):
            raise malformed("inputs.0: an element is longer than the tensor's bytes")
        yield bytes(data[start:place])


def _at_most(values: Iterator[T], most: int) -> Iterator[T]:
    for number, value in enumerate(values):
        if number == most:
            raise too_large(f"more than {most} images; send fewer at once")
        yield value


def _wanted(request: InferRequest, served: Served) -> tuple[tuple[str, bool], ...]:
    """Return the names of the outputs and whether each is binary."""
    known = [one.name for one in _outputs_of(served)]
    binary = request.parameters.get("binary_data_output", False) is True
    if not request.outputs:
        return tuple((name, binary) for name in known)
    for place, one in enumerate(request.outputs):
        if one.name not in known:
            raise malformed(
                f"outputs.{place}: the detector keeps no calibration scores, so there are no "
                "p-values; `synood calibrate` adds them"
            )
        if unknown := {*one.parameters} - {"binary_data"}:
            raise malformed(f"outputs.{place}: parameter {min(unknown)[:40]!r} is not supported")
    names = [one.name for one in request.outputs]
    if len({*names}) < len(names):
        raise malformed("outputs: a name is listed twice")
    return tuple(
        (one.name, one.parameters.get("binary_data", binary) is True) for one in request.outputs
    )


def answer_of(
    served: Served, request: Inference, found: Sequence[Prediction]
) -> tuple[dict[str, Any], bytes]:
    """Return an answer's JSON and the bytes of its binary tensors, which are to follow it.

    An image that cannot be read is a `RequestError`: a tensor has no place for the reason.
    """
    bad = [one.error for one in found if one.error]
    if bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise RequestError(422, "unreadable", f"{bad[0]}{more}")
    by_name = {one.name: one for one in _OUTPUTS}
    outputs, tail = [], b""
    for name, binary in request.outputs:
        output = by_name[name]
        values = [output.value(one) for one in found]
        tensor = {"name": name, "shape": [len(values)], "datatype": output.datatype}
        if binary:
            data = _packed(values, output.dtype)
            tail += data
            outputs.append({**tensor, "parameters": {"binary_data_size": len(data)}})
        else:
            outputs.append({**tensor, "data": values})
    given = {} if request.id is None else {"id": request.id}
    return {"model_name": served.name, **given, "outputs": outputs}, tail


def _packed(values: Sequence[Any], dtype: str) -> bytes:
    if dtype:
        return np.array(values, dtype).tobytes()
    texts = [value.encode() for value in values]
    return b"".join(len(text).to_bytes(_LENGTH, "little") + text for text in texts)
