"""The JSON of requests and answers, as the OpenAPI description shows it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Parameters = dict[str, Any]


class Answer(BaseModel):
    """An answer of the server: all its fields are known."""

    model_config = ConfigDict(extra="forbid")


class Refusal(Answer):
    """Why a request was refused."""

    detail: str


class Error(Answer):
    """Why a request was refused, in the Open Inference Protocol."""

    error: str


class Live(Answer):
    """Whether the server runs."""

    live: bool


class Ready(Answer):
    """Whether the server, or a model, takes requests."""

    ready: bool


class Row(Answer):
    """The verdict on one image, or why there is none; with `explain` what it is nearest to."""

    name: str
    score: float | None
    p_value: float | None
    is_ood: bool | None
    label: str | None
    image_evidence: float | None
    threshold: float | None = None
    error: str | None = None
    class_1: str | None = None
    class_1_cosine: float | None = None
    class_2: str | None = None
    class_2_cosine: float | None = None
    class_3: str | None = None
    class_3_cosine: float | None = None
    negative_1: str | None = None
    negative_1_cosine: float | None = None
    negative_2: str | None = None
    negative_2_cosine: float | None = None
    negative_3: str | None = None
    negative_3_cosine: float | None = None
    image_class: str | None = None


class Scores(Answer):
    """The verdicts on the images of a request, in their order."""

    model: str
    threshold: float | None
    results: list[Row]


class Histogram(Answer):
    """Calibration scores in k bins between k + 1 edges."""

    images: int
    edges: list[float]
    counts: list[int]


class Model(Answer):
    """A detector of the server."""

    name: str
    encoder: str
    classes: int
    negative_labels: int
    threshold: float | None
    tpr: float | None
    calibration: Histogram | None


class RequestLimits(Answer):
    """What one request may hold."""

    body_bytes: int
    files: int
    pixels: int


class Models(Answer):
    """The detectors of the server, by name."""

    models: list[Model]
    limits: RequestLimits


class ServerMetadata(Answer):
    """The server, in the Open Inference Protocol."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(Answer):
    """A tensor that a model takes or gives; -1 is any number."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(Answer):
    """A model, in the Open Inference Protocol."""

    name: str
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class Given(BaseModel):
    """A part of a request; fields that are not known are ignored."""

    model_config = ConfigDict(strict=True)


class InferInput(Given):
    """Images: base64 in `data`, or bytes behind the JSON where `binary_data_size` is given."""

    name: Literal["image"]
    shape: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=8)]
    datatype: Literal["BYTES"]
    parameters: Parameters = {}
    data: list[Any] | None = None


class WantedOutput(Given):
    """An output to be in the answer."""

    name: Literal["score", "p_value", "is_ood", "label"]
    parameters: Parameters = {}


class InferRequest(Given):
    """A request of the Open Inference Protocol with one input, `image`."""

    id: str | None = None
    parameters: Parameters = {}
    inputs: Annotated[list[InferInput], Field(min_length=1, max_length=1)]
    outputs: list[WantedOutput] | None = None


class InferOutput(Answer):
    """An output tensor: in `data`, or behind the JSON where `binary_data_size` is given."""

    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters | None = None
    data: list[float] | list[bool] | list[str] | None = None


class InferAnswer(Answer):
    """The outputs for the images of a request, in their order."""

    model_name: str
    id: str | None = None
    outputs: list[InferOutput]
