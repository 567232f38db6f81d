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
from synood.models._spec import configuration
from synood.models.checkpoints import NO_SAFETENSORS, first_file, load_file
from synood.models.families import family_of

if TYPE_CHECKING:
    from pathlib import Path

SCALE, TEMPERATURE = "logit_scale", "temperature"
FILES = ("model.safetensors", "open_clip_model.safetensors")
INDEX = "model.safetensors.index.json"


def recipe_defaults(source: str | Path, revision: str | None = None) -> dict[str, float]:
    """Return the recipe fields that depend on the encoder's logit scale.

    Raises `CheckpointError` where the weights have no scale.
    """
    scale = _scale(source, revision)
    return {
        "score.temperature": 1 / scale,
        "projection.logit_scale": scale,
        "negatives.logit_scale": scale,
    }


def _scale(source: str | Path, revision: str | None) -> float:
    """Return the factor of the cosines: exp(logit_scale), or one over a temperature."""
    path, name = _scale_tensor(source, revision)
    if name is not None:
        with safe_open(path, "pt") as tensors:
            value = float(tensors.get_tensor(name))
        return math.exp(value) if _last(name) == SCALE else 1 / value
    config = configuration(str(source), revision)
    family, start = family_of(config), config.get("temperature_init_value")
    if family and family.is_temperature and isinstance(start, float) and start > 0:
        return 1 / start  # TIPSv2 is published without its temperature; transformers does so too
    raise CheckpointError(f"{source}/{path.name}: holds no {SCALE}")


def _scale_tensor(source: str | Path, revision: str | None) -> tuple[Path, str | None]:
    """Return the weights file that holds the scale, of one file or several shards, and its name."""
    if index := first_file(source, (INDEX,), revision):
        shards = read_json(index).get("weight_map", {})
        name = next(filter(_is_scale, sorted(shards)), None)
        return (index if name is None else load_file(source, shards[name], revision)), name
    path = first_file(source, FILES, revision)
    if path is None:
        raise CheckpointError(f"{source}: {NO_SAFETENSORS}")
    try:
        with safe_open(path, "pt") as tensors:
            return path, next(filter(_is_scale, sorted(tensors.keys())), None)
    except SafetensorError as error:
        raise CheckpointError(f"{source}/{path.name}: is damaged ({error})") from None


def _is_scale(name: str) -> bool:
    return _last(name) in (SCALE, TEMPERATURE)


def _last(name: str) -> str:
    return name.rpartition(".")[2]  # models with a head on top name it after their part
