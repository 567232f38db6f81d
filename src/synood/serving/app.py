"""The routes: the Open Inference Protocol, the plain API, metrics and the page."""

from __future__ import annotations

import asyncio
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse

from synood import __version__
from synood.detector.rows import prediction_row
from synood.serving import schemas
from synood.serving.forms import Upload, uploads_of
from synood.serving.gate import Gate
from synood.serving.inference import (
    BINARY,
    HEADER_LENGTH,
    answer_of,
    described_model,
    read_inference,
)
from synood.serving.metrics import CONTENT_TYPE
from synood.serving.openapi import INFER_BODY, SCORE_BODY, describe, refusals
from synood.serving.refusals import handle_refusals

if TYPE_CHECKING:
    from synood.detector import Prediction
    from synood.serving.served import Served
    from synood.serving.service import Service

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def create_app(service: Service, key: str | None = None) -> Gate:
    """Return the application of a server, with its gate."""
    app = FastAPI(
        title="synood",
        version=__version__,
        summary="Whether images show the classes of a detector or something else (OOD).",
        docs_url=None,  # its page would be loaded from a CDN
        redoc_url=None,
    )
    handle_refusals(app, service.metrics)
    _add_protocol(app, service)
    _add_plain(app, service)
    open_paths = _add_page(app)
    describe(app, [*service.detectors], key is not None)
    return Gate(app, service.metrics, key, open_paths)


def _add_protocol(app: FastAPI, service: Service) -> None:
    """Add the routes of the Open Inference Protocol."""

    @app.get("/v2", response_model=schemas.ServerMetadata, responses=refusals("error", 401))
    async def server() -> dict[str, Any]:
        return {"name": "synood", "version": __version__, "extensions": ["binary_tensor_data"]}

    @app.get("/v2/health/live", response_model=schemas.Live)
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get(
        "/v2/health/ready",
        response_model=schemas.Ready,
        responses={503: {"model": schemas.Ready}},
    )
    async def ready() -> JSONResponse:
        return JSONResponse({"ready": service.ready}, 200 if service.ready else 503)

    @app.get(
        "/v2/models/{name}",
        response_model=schemas.ModelMetadata,
        responses=refusals("error", 401, 404),
    )
    async def model(name: str) -> dict[str, Any]:
        return described_model(service.served(name))

    @app.get(
        "/v2/models/{name}/ready",
        response_model=schemas.Ready,
        responses={**refusals("error", 401, 404), 503: {"model": schemas.Ready}},
    )
    async def model_ready(name: str) -> JSONResponse:
        service.served(name)
        return await ready()

    @app.post(
        "/v2/models/{name}/infer",
        response_model=schemas.InferAnswer,
        response_model_exclude_none=True,
        responses=refusals("error", 400, 401, 404, 408, 413, 415, 422, 503),
        openapi_extra=INFER_BODY,
    )
    async def infer(name: str, request: Request) -> Response:
        served = service.served(name)
        length = request.headers.get(HEADER_LENGTH)
        async with service.uploads.body(request) as body:
            wanted = await service.parsed(
                body, lambda body: read_inference(body, length, served, service.limits.max_files)
            )
            images = [Upload(f"image {i}", data) for i, data in enumerate(wanted.images)]
            found = await service.predictions(request, served, images)
        answer, tail = answer_of(served, wanted, found)
        if not tail:
            return JSONResponse(answer)
        head = json.dumps(answer, ensure_ascii=False, allow_nan=False).encode()
        return Response(head + tail, 200, {HEADER_LENGTH: str(len(head))}, BINARY)


def _add_plain(app: FastAPI, service: Service) -> None:
    """Add the routes of our own."""

    @app.get("/v1/models", response_model=schemas.Models, responses=refusals("detail", 401))
    async def models() -> dict[str, Any]:
        limits = service.limits
        return {
            "models": [served.described() for served in service.detectors.values()],
            "limits": {
                "body_bytes": limits.body_bytes,
                "files": limits.max_files,
                "pixels": limits.pixels,
            },
        }

    @app.post(
        "/v1/score",
        response_model=schemas.Scores,
        responses=refusals("detail", 400, 401, 404, 408, 413, 415, 422, 503),
        openapi_extra=SCORE_BODY,
    )
    async def score(
        request: Request,
        model: Annotated[str | None, Query(description="Name; not needed with one model.")] = None,
        explain: Annotated[bool, Query(description="Add what images are nearest to.")] = False,
    ) -> JSONResponse:
        served = service.served(model)
        kind = request.headers.get("content-type", "")
        async with service.uploads.body(request) as body:
            images = await service.parsed(
                body, lambda body: uploads_of(body, kind, service.limits.max_files)
            )
            found = await service.predictions(request, served, images, explain)
        rows = [
            _row(served, one, image.name, explain) for one, image in zip(found, images, strict=True)
        ]
        threshold = served.detector.threshold
        return JSONResponse({"model": served.name, "threshold": threshold, "results": rows})

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        text = await asyncio.to_thread(service.metrics.text)
        return Response(text, media_type=CONTENT_TYPE)


def _row(served: Served, found: Prediction, name: str, explain: bool) -> dict[str, Any]:
    row = prediction_row(found, name=name, explain=explain)
    if found.error:
        return row
    detector = served.detector
    return {**row, "threshold": detector.threshold_of(detector.class_names.index(found.label))}


def _add_page(app: FastAPI) -> frozenset[str]:
    """Serve the files of the page, which are read once; return their paths."""
    paths = set()
    for file in sorted(
        files("synood.serving").joinpath("page").iterdir(), key=lambda one: one.name
    ):
        suffix = "." + file.name.rpartition(".")[2]
        if suffix in _KINDS:
            path = "/" if file.name == "index.html" else f"/{file.name}"
            _add_file(app, path, file.read_bytes(), _KINDS[suffix])
            paths.add(path)
    return frozenset(paths)


def _add_file(app: FastAPI, path: str, content: bytes, kind: str) -> None:
    @app.get(path, include_in_schema=False)
    async def page() -> Response:
        return Response(content, headers={"Cache-Control": "no-cache"}, media_type=kind)
