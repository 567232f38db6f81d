"""Image evidence in a detector directory: what config.json says of it, and its arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from synood.detector.evidence import ImageEvidence, tensor_shapes
from synood.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

EVIDENCE = "evidence."  # start of the names of its arrays
ROWS = ("neighbours", "head")  # what config.json holds: how many rows these arrays have


def evidence_config(evidence: ImageEvidence | None) -> dict[str, int] | None:
    """Return the value of `image_evidence` in config.json."""
    if evidence is None:
        return None
    return {"neighbours": len(evidence.neighbours), "head": len(evidence.head_bias)}


def check_evidence_config(config: dict[str, Any], path: Path) -> None:
    """Refuse a value of `image_evidence` of the wrong kind; earlier versions have none."""
    found = config.setdefault("image_evidence", None)
    if found is None:
        return
    fits = isinstance(found, dict) and sorted(found) == sorted(ROWS)
    if not fits or not all(type(rows) is int and rows >= 0 for rows in found.values()):
        raise CheckpointError(f"{path}: `image_evidence` must be null or hold {', '.join(ROWS)}")


def evidence_shapes(config: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return shape and kind of the arrays by name, none where there is no image evidence."""
    found = config["image_evidence"]
    if found is None:
        return {}
    shapes = tensor_shapes(
        len(config["class_names"]), config["dim"], found["neighbours"], found["head"]
    )
    return {EVIDENCE + name: shape for name, shape in shapes.items()}


def evidence_bytes(config: Mapping[str, Any]) -> int:
    """Return how many bytes the arrays may have at most."""
    return sum(8 * math.prod(shape) for shape, _ in evidence_shapes(config).values())


def evidence_to_tensors(evidence: ImageEvidence | None) -> dict[str, NDArray[Any]]:
    """Return the arrays by their names in model.safetensors."""
    tensors = {} if evidence is None else evidence.to_tensors()
    return {EVIDENCE + name: tensor for name, tensor in tensors.items()}


def read_evidence(
    config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], path: Path
) -> ImageEvidence | None:
    """Return the image evidence that config.json announces."""
    if config["image_evidence"] is None:
        return None
    start = len(EVIDENCE)
    parts = {name[start:]: value for name, value in tensors.items() if name.startswith(EVIDENCE)}
    try:
        return ImageEvidence.from_tensors(parts)
    except InputError as error:
        raise CheckpointError(f"{path}: {error}") from None
