"""Reading a detector directory, trusting nothing in it: hashes, shapes and links are checked.

`config.json` names the SHA-256 of the other three files; `model.safetensors` holds every array.
The card is for people: it may be edited or absent, and is not read.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import synood
from synood.artifacts import artifact_at, mistaken_for
from synood.detector._earlier import converted
from synood.detector._evidence_files import (
    check_evidence_config,
    evidence_bytes,
    evidence_shapes,
    read_evidence,
)
from synood.detector.backbone import Backbone
from synood.detector.calibration import Calibration
from synood.errors import CheckpointError, InputError
from synood.files import MAX_TEXT, read_bounded, sha256_bytes
from synood.settings import ScoreSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    _Kinds: TypeAlias = dict[str, type | tuple[type, ...]]

FORMAT, SCHEMA = "synood-detector", 2
SHARES = 1  # the schema whose scores were shares in [0, 1]
CONFIG, MODEL, NEGATIVES, CARD = "config.json", "model.safetensors", "negatives.txt", "README.md"
HASHED = (MODEL, NEGATIVES, CARD)
SMALL = 2**24  # bytes of a safetensors header
PROJECTION = "projection."  # start of the names of the projection's arrays
CALIBRATION = "calibration."  # start of the names of the arrays of calibration images
_NUMBER, _NONE = (float, int), type(None)
_BACKBONE: _Kinds = {"bundle": str, "fingerprint": str, "path": (str, _NONE)}
_SCORE: _Kinds = {"temperature": _NUMBER, "groups": int, "seed": int}
_CALIBRATION: _Kinds = {
    "threshold": _NUMBER,
    "images": int,
    "tpr_wanted": _NUMBER,
    "tpr_reached": _NUMBER,
    "tpr_low": _NUMBER,
    "tpr_high": _NUMBER,
    "warning": (str, _NONE),
}
_KEPT: _Kinds = {"scores": bool, "per_class": bool}  # which arrays of calibration images there are
_LATER: _Kinds = {"image_evidence": bool, "cross_fitted": bool}  # in schema 2 not from the start
_FIELDS: _Kinds = {
    "synood": str,
    "recipe": str,
    "notes": list,
    "backbone": (dict, _NONE),
    "class_names": list,
    "prompt_set": str,
    "score": dict,
    "dim": int,
    "negatives": int,
    "tuned_negatives": int,
    "projection": bool,
    "threshold": (*_NUMBER, _NONE),
    "calibration": (dict, _NONE),
    "files": dict,
}


def read_detector(directory: Path, root: Path | None = None) -> dict[str, Any]:
    """Read and check a detector directory; return the arguments of `OODDetector`.

    Whatever is missing, altered, of another schema, inconsistent in shape or a link out of the
    directory is a `CheckpointError` that names the file and says what to do. Links may lead to
    anywhere below `root`: in the hub's cache they lead to its blobs.
    """
    config_path, root = directory / CONFIG, root or directory
    config = _read_config(config_path, root)
    files = config["files"]
    if sorted(files) != sorted(HASHED):
        raise CheckpointError(f"{config_path}: `files` must name {', '.join(HASHED)} and no other")
    limits = {MODEL: _model_bytes(config), NEGATIVES: MAX_TEXT}
    data = {
        name: _read_checked(directory / name, root, files[name], limit)
        for name, limit in limits.items()
    }
    try:
        prompts = data[NEGATIVES].decode().split("\n")[:-1]
    except UnicodeDecodeError:
        raise CheckpointError(f"{directory / NEGATIVES}: is not UTF-8 text") from None
    if len(prompts) != config["negatives"]:
        raise CheckpointError(
            f"{directory / NEGATIVES}: {len(prompts)} lines, but config.json says "
            f"{config['negatives']}; restore the directory"
        )
    tensors = _read_tensors(data[MODEL], directory / MODEL)
    _check_shapes(tensors, config, directory / MODEL)
    return _arguments(config, prompts, tensors, config_path)


def _read_config(path: Path, root: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(_no_detector(path.parent))
    text = _read_inside(path, root, MAX_TEXT)
    try:
        config = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not the config of a synood detector")
    if config.get("schema") not in (SHARES, SCHEMA):
        raise CheckpointError(
            f"{path}: schema {config.get('schema')!r} is not known to synood "
            f"{synood.__version__} (it reads {SHARES} and {SCHEMA}); install the version that "
            "wrote it"
        )
    for key, kind in _FIELDS.items():
        if key not in config or not isinstance(config[key], kind):
            raise CheckpointError(f"{path}: `{key}` is missing or of the wrong kind")
    if config["calibration"] is not None:
        _check_calibration(config["calibration"], config["schema"], path)
    check_evidence_config(config, path)
    for key in ("class_names", "notes"):
        if not all(isinstance(entry, str) for entry in config[key]):
            raise CheckpointError(f"{path}: `{key}` must hold texts")
    return config


def _check_calibration(found: dict[str, Any], schema: int, path: Path) -> None:
    """Refuse other fields than those of the schema; those that came later are filled in."""
    if schema == SHARES:
        _checked(found, _CALIBRATION, path)
        return
    for name in _LATER:
        found.setdefault(name, False)
    _checked(found, _CALIBRATION | _KEPT | _LATER, path)


def _no_detector(directory: Path) -> str:
    """Say what is at a place where a detector should be, and what to give instead."""
    if _is_run(directory):
        made = directory / "detector"
        if (made / CONFIG).is_file():
            return f"{directory}: is a run, not a detector; use {made}"
        return _unfinished(directory)
    if directory.name == "detector" and _is_run(directory.parent):
        return _unfinished(directory.parent)
    if artifact_at(directory) == "a detector":
        return f"{directory / CONFIG}: missing; restore the detector directory or save it again"
    if mistake := mistaken_for(directory, "a detector"):
        return f"{mistake}; `synood zero-shot` and `synood fit` make one from class names or images"
    what = "no such directory"
    if directory.exists():
        what = (
            "holds no detector"
            if directory.is_dir()
            else "is a file, not the directory of a detector"
        )
    return f"{directory}: {what}; give one that `synood fit` or `save_pretrained` made"


def _is_run(directory: Path) -> bool:
    return any((directory / name).is_file() for name in ("run.toml", "events.jsonl"))


def _unfinished(run: Path) -> str:
    return (
        f"{run}: is a run without a detector yet; `synood status {run}` shows how far it is, and "
        "the `synood fit` command that began it finishes it"
    )


def _read_inside(path: Path, root: Path, limit: int) -> bytes:
    if not path.is_file():
        raise CheckpointError(f"{path}: missing; restore the detector directory or save it again")
    if not path.resolve().is_relative_to(root.resolve()):
        raise CheckpointError(f"{path}: is a link out of the directory; put the file itself there")
    try:
        return read_bounded(path, limit)
    except InputError as error:
        raise CheckpointError(str(error)) from None


def _model_bytes(config: Mapping[str, Any]) -> int:
    """Return what `model.safetensors` may have at most, so that no more is ever read."""
    dim: int = config["dim"]
    negatives: int = config["negatives"]
    rows = len(config["class_names"]) + negatives + dim + 3  # names, negatives, the projection
    images = _calibration_images(config)
    return 4 * dim * rows + 8 * negatives + 16 * images + evidence_bytes(config) + SMALL


def _calibration_images(config: Mapping[str, Any]) -> int:
    """Return of how many calibration images there are scores."""
    found = config["calibration"] or {}
    images: int = found["images"] if found.get("scores") else 0
    return images


def _read_checked(path: Path, root: Path, expected: object, limit: int) -> bytes:
    data = _read_inside(path, root, limit)
    if sha256_bytes(data) != expected:
        raise CheckpointError(
            f"{path}: altered (its SHA-256 is not the one in config.json); "
            "restore the file or save the detector again"
        )
    return data


def _read_tensors(data: bytes, path: Path) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors: dict[str, NDArray[Any]] = load(data)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file ({error})") from None
    return tensors


def _check_shapes(
    tensors: Mapping[str, NDArray[Any]], config: Mapping[str, Any], path: Path
) -> None:
    """Compare every array with what config.json says about it."""
    dim = config["dim"]
    expected: dict[str, tuple[tuple[int, ...], str]] = {
        "class_features": ((len(config["class_names"]), dim), "float32"),
        "negative_features": ((config["negatives"], dim), "float32"),
        "tuned_rows": ((config["tuned_negatives"],), "int64"),
    }
    if config["projection"]:
        for name in ("bias", "norm_weight", "norm_bias"):
            expected[PROJECTION + name] = ((dim,), "float32")
        expected[PROJECTION + "weight"] = ((dim, dim), "float32")
        expected[PROJECTION + "eps"] = ((1,), "float64")
    if images := _calibration_images(config):
        expected[CALIBRATION + "scores"] = ((images,), "float32")
        if config["calibration"]["per_class"]:
            expected[CALIBRATION + "labels"] = ((images,), "int64")
        if config["calibration"]["image_evidence"]:
            expected[CALIBRATION + "image_evidence"] = ((images,), "float32")
    expected |= evidence_shapes(config)
    unknown = sorted(set(tensors) - set(expected))
    if unknown:
        raise CheckpointError(f"{path}: holds {unknown[0]!r}, which config.json does not announce")
    for name, (shape, dtype) in expected.items():
        tensor = tensors.get(name)
        if tensor is None or tensor.shape != shape or tensor.dtype != dtype:
            found = "nothing" if tensor is None else f"{tensor.dtype} {tensor.shape}"
            raise CheckpointError(f"{path}: {name} should be {dtype} {shape}, found {found}")


def _arguments(
    config: Mapping[str, Any], prompts: list[str], tensors: dict[str, NDArray[Any]], path: Path
) -> dict[str, Any]:
    projection = None
    if config["projection"]:
        from synood.tuning.projection import Projection

        start = len(PROJECTION)
        parts = {
            name[start:]: value for name, value in tensors.items() if name.startswith(PROJECTION)
        }
        projection = Projection.from_tensors(parts)
    arguments = {
        "encoder": _backbone(config["backbone"], path),
        "class_names": tuple(config["class_names"]),
        "prompt_set": config["prompt_set"],
        "class_features": tensors["class_features"],
        "negative_prompts": tuple(prompts),
        "negative_features": tensors["negative_features"],
        "projection": projection,
        "settings": ScoreSettings(**_checked(config["score"], _SCORE, path)),
        "threshold": config["threshold"],
        "calibration": config["calibration"],
        "tuned_rows": tuple(tensors["tuned_rows"].tolist()),
        "recipe": config["recipe"],
        "notes": tuple(config["notes"]),
        "image_evidence": read_evidence(config, tensors, path.with_name(MODEL)),
    }
    if config["schema"] == SHARES:
        arguments = converted(arguments, path)
    return {**arguments, "calibration": _calibration(arguments["calibration"], tensors)}


def _calibration(
    found: dict[str, Any] | None, tensors: Mapping[str, NDArray[Any]]
) -> Calibration | None:
    """Return the record with the arrays that it announces."""
    if found is None:
        return None
    arrays = (*_KEPT, "image_evidence")
    plain = {name: value for name, value in found.items() if name not in arrays}
    scores, labels, looks = (
        tensors.get(CALIBRATION + name) for name in ("scores", "labels", "image_evidence")
    )
    return Calibration(**plain, scores=scores, labels=labels, image_evidence=looks)


def _backbone(found: Mapping[str, Any] | None, path: Path) -> Backbone:
    """Return the record of the encoder; null where features were given."""
    if found is None:
        return Backbone.absent()
    if not _checked(found, _BACKBONE, path)["fingerprint"]:
        raise CheckpointError(f"{path}: `fingerprint` is empty; without an encoder it is null")
    return Backbone(**found)


def _checked(values: Mapping[str, Any], kinds: _Kinds, path: Path) -> dict[str, Any]:
    """Return `values` if it has exactly the fields of `kinds`, each of its kind."""
    if sorted(values) != sorted(kinds):
        names, found = ", ".join(kinds), ", ".join(values)
        raise CheckpointError(f"{path}: expected the fields {names}, found {found}")
    for key, kind in kinds.items():
        if not isinstance(values[key], kind):
            raise CheckpointError(f"{path}: `{key}` is {values[key]!r}, of the wrong kind")
    return dict(values)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")
