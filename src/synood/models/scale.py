"""The logit scale that an encoder was trained with, as recipe fields, read without loading it.

In the softmax of the score (equation 2) the temperature is one over the scale; the losses of both
tunings use the scale itself.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from synood.errors import CheckpointError
from synood.files import read_json
from synood.models.checkpoints import first_file, load_file

if TYPE_CHECKING:
    from pathlib import Path

NAME = "logit_scale"
FILES = ("model.safetensors", "open_clip_model.safetensors")
INDEX = "model.safetensors.index.json"


def recipe_defaults(source: str | Path, revision: str | None = None) -> dict[str, float]:
    """Return the recipe fields that depend on the encoder's logit scale.

    Raises `CheckpointError` where the weights have no scale.
    """
    scale = math.exp(_log_scale(source, revision))
    return {
        "score.temperature": 1 / scale,
        "projection.logit_scale": scale,
        "negatives.logit_scale": scale,
    }


def _log_scale(source: str | Path, revision: str | None) -> float:
    path = _scale_file(source, revision)
    try:
        with safe_open(path, "pt") as tensors:
            return float(tensors.get_tensor(NAME))
    except SafetensorError as error:
        raise CheckpointError(f"{source}/{path.name}: holds no {NAME} ({error})") from None


def _scale_file(source: str | Path, revision: str | None) -> Path:
    """Return the weights file that holds the scale, of one file or several shards."""
    if index := first_file(source, (INDEX,), revision):
        shards = read_json(index).get("weight_map", {})
        if NAME in shards:
            return load_file(source, shards[NAME], revision)
    return first_file(source, FILES[:1], revision) or load_file(source, FILES[1], revision)
