"""The scale that an encoder was trained with, as recipe fields, read without loading the encoder.

The score of equation 2 is a share of softmax mass: there the scale is one over the temperature, and
the same in the loss of both tunings.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from synood.errors import CheckpointError
from synood.files import read_json
from synood.models.checkpoints import load_file

if TYPE_CHECKING:
    from pathlib import Path

NAME = "logit_scale"
FILES = ("model.safetensors", "open_clip_model.safetensors")
INDEX = "model.safetensors.index.json"


def recipe_defaults(source: str | Path, revision: str | None = None) -> dict[str, float]:
    """Return the recipe fields that depend on the encoder's scale.

    Raises `CheckpointError` where no file of weights holds a scale.
    """
    scale = math.exp(_logarithm(source, revision))
    return {
        "score.temperature": 1 / scale,
        "projection.logit_scale": scale,
        "negatives.logit_scale": scale,
    }


def _logarithm(source: str | Path, revision: str | None) -> float:
    path = _holder(source, revision)
    try:
        with safe_open(path, "pt") as tensors:
            return float(tensors.get_tensor(NAME))
    except SafetensorError as error:
        raise CheckpointError(f"{source}/{path.name}: holds no {NAME} ({error})") from None


def _holder(source: str | Path, revision: str | None) -> Path:
    """Return the file of weights with the scale, be the weights one file or several."""
    try:
        index = read_json(load_file(source, INDEX, revision))
        return load_file(source, index["weight_map"][NAME], revision)
    except (CheckpointError, KeyError):
        pass
    try:
        return load_file(source, FILES[0], revision)
    except CheckpointError:
        return load_file(source, FILES[1], revision)
