"""What the OpenAPI description says beyond the routes' own types: bodies, refusals, the key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synood.serving.schemas import Error, InferRequest, Refusal

if TYPE_CHECKING:
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
INFER_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": InferRequest.model_json_schema()}},
    }
}


def refusals(field: str, *statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the answers of these statuses, as {"error": ...} or {"detail": ...}."""
    model = Error if field == "error" else Refusal
    return {status: {"model": model, "description": _TOLD[status]} for status in statuses}


def describe_key(app: FastAPI) -> None:
    """Say in the description that requests need the key, but for those of health."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        schema = plain()
        schema.setdefault("components", {})["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer"}
        }
        for path, methods in schema["paths"].items():
            for operation in methods.values():
                operation["security"] = [] if "/health/" in path else [{"key": []}]
        return schema

    app.openapi = described  # type: ignore[method-assign]  # the way that FastAPI documents
