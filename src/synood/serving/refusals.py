"""Faults as answers: {"error": ...} in the Open Inference Protocol, {"detail": ...} elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from synood.serving.bodies import ClientGoneError
from synood.serving.faults import RequestError
from synood.serving.inference import sentence_of

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request

    from synood.serving.metrics import Metrics

PROTOCOL = "/v2"
GONE = 499  # as nginx has it: the client has left, so nobody reads the answer
OUR_FAULT = "this is a fault in the server; its log has the request id"


def refusal_response(path: str, fault: RequestError) -> JSONResponse:
    """Return the answer to a request for `path`."""
    field = "error" if path == PROTOCOL or path.startswith(f"{PROTOCOL}/") else "detail"
    return JSONResponse({field: fault.detail}, fault.status, fault.headers)


def handle_refusals(app: FastAPI, metrics: Metrics) -> None:
    """Answer every exception of the application as JSON, and count it by kind."""

    def refuse(request: Request, fault: RequestError) -> JSONResponse:
        metrics.error(fault.kind)
        request.state.detail = fault.detail
        return refusal_response(request.url.path, fault)

    async def refused(request: Request, error: Exception) -> JSONResponse:
        return refuse(request, as_request_error(error))

    async def gone(request: Request, error: Exception) -> Response:
        metrics.error("client_gone")
        return Response(status_code=GONE)

    app.add_exception_handler(ClientGoneError, gone)
    for kind in (RequestError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, refused)


def as_request_error(error: Exception) -> RequestError:
    """Return any exception as a fault; what is unknown is ours."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, RequestValidationError):
        return RequestError(422, "malformed", sentence_of(error.errors()[0]))
    if isinstance(error, HTTPException):
        headers = error.headers
        return RequestError(error.status_code, "malformed", str(error.detail).lower(), headers)
    return RequestError(500, "fault", OUR_FAULT)
