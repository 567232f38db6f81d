"""What the OpenAPI description says beyond the routes' own types: bodies, refusals, the key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synood.serving.schemas import Error, InferRequest, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import FastAPI

_TOLD = {
    400: "The request cannot be understood.",
    401: "The key is missing or wrong.",
    404: "There is no such model.",
    408: "The body did not arrive in time.",
    413: "The request is larger than a limit.",
    415: "The body is of another kind.",
    422: "A parameter or an image cannot be used.",
    503: "There is no room; come again after Retry-After seconds.",
}
SCORE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "additionalProperties": False,
                    "properties": {
                        "files": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                        }
                    },
                }
            }
        },
    }
}
_INFER = InferRequest.model_json_schema(ref_template="#/components/schemas/{model}")
_INFER_PARTS: dict[str, Any] = _INFER.pop("$defs")
INFER_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": _INFER}}}
}


def refusals(field: str, *statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the answers of these statuses, as {"error": ...} or {"detail": ...}."""
    model = Error if field == "error" else Refusal
    return {status: {"model": model, "description": _TOLD[status]} for status in statuses}


def describe(app: FastAPI, models: Sequence[str], key: bool) -> None:
    """Say in the description which models there are, and that requests need a key if they do."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = plain()
            schema["components"]["schemas"] |= _INFER_PARTS
            for path, methods in schema["paths"].items():
                for operation in methods.values():
                    _name_models(operation, models)
                    if key:
                        operation["security"] = [] if "/health/" in path else [{"key": []}]
            if key:
                schema["components"]["securitySchemes"] = {
                    "key": {"type": "http", "scheme": "bearer"}
                }
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # the way that FastAPI documents


def _name_models(operation: dict[str, Any], models: Sequence[str]) -> None:
    """List the models where an operation takes the name of one, which one alone does not need."""
    for parameter in operation.get("parameters", ()):
        if parameter["name"] in ("name", "model"):
            parameter["schema"] = {"type": "string", "enum": [*models]}
            parameter["required"] = parameter["name"] == "name" or len(models) > 1
