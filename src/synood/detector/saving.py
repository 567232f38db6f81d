"""Writing a detector directory: whole or not at all, and the same bytes for the same detector."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

import synood
from synood.detector._evidence_files import evidence_config, evidence_to_tensors
from synood.detector._load import (
    CALIBRATION,
    CARD,
    CONFIG,
    FORMAT,
    MODEL,
    NEGATIVES,
    PROJECTION,
    SCHEMA,
)
from synood.detector.card import detector_card
from synood.detector.place import checked_place
from synood.errors import InputError
from synood.files import replacing_directory, sha256_bytes

__all__ = ["CONFIG", "MODEL", "detector_files", "is_config", "write_detector"]

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from synood.detector.ood_detector import OODDetector


def write_detector(detector: OODDetector, path: Path) -> None:
    """Write `detector` to the directory `path`, replacing a detector that is there.

    A file, a directory that holds anything but a detector, a place that cannot be written to or
    a negative prompt with a line break is an `InputError`, and nothing is changed.
    """
    target = checked_place(path)
    contents = detector_files(detector, detector_card(detector, synood.__version__))
    try:
        with replacing_directory(target) as part:
            for name, data in contents.items():
                (part / name).write_bytes(data)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror})") from error


def is_config(value: object) -> bool:
    """Whether a JSON value is the `config.json` of a detector."""
    return isinstance(value, dict) and value.get("format") == FORMAT


def detector_files(detector: OODDetector, card: str) -> dict[str, bytes]:
    """Return the files of a detector by name; `card` is the text of its `README.md`."""
    contents = {
        MODEL: _tensors_to_bytes(detector),
        NEGATIVES: _lines_to_bytes(detector.negative_prompts),
        CARD: card.encode(),
    }
    config = _config(detector, {name: sha256_bytes(data) for name, data in contents.items()})
    text = json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return {**contents, CONFIG: text.encode()}


def _config(detector: OODDetector, files: Mapping[str, str]) -> dict[str, Any]:
    backbone, found = detector.backbone, detector.calibration
    place = {"bundle": backbone.bundle, "fingerprint": backbone.fingerprint, "path": backbone.path}
    return {
        "format": FORMAT,
        "schema": SCHEMA,
        "synood": synood.__version__,
        "recipe": detector.recipe,
        "notes": list(detector.notes),
        "backbone": None if backbone.is_absent else place,
        "class_names": list(detector.class_names),
        "prompt_set": detector.prompt_set,
        "score": asdict(detector.settings),
        "dim": int(detector.class_features.shape[1]),
        "negatives": len(detector.negative_prompts),
        "tuned_negatives": len(detector.tuned_rows),
        "projection": detector.projection is not None,
        "image_evidence": evidence_config(detector.image_evidence),
        "threshold": detector.threshold,
        "calibration": None if found is None else found.to_json(),
        "files": dict(files),
    }


def _tensors_to_bytes(detector: OODDetector) -> bytes:
    from safetensors.numpy import save

    tensors: dict[str, NDArray[Any]] = {
        "class_features": detector.class_features,
        "negative_features": detector.negative_features,
        "tuned_rows": np.asarray(detector.tuned_rows, dtype=np.int64),
    }
    if detector.projection is not None:
        for name, tensor in detector.projection.to_tensors().items():
            tensors[PROJECTION + name] = tensor
    found = detector.calibration
    for name in ("scores", "labels", "image_evidence"):
        array = None if found is None or found.scores is None else getattr(found, name)
        if array is not None:
            tensors[CALIBRATION + name] = array
    tensors |= evidence_to_tensors(detector.image_evidence)
    # No metadata: safetensors writes it in an order that changes from run to run.
    data: bytes = save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)})
    return data


def _lines_to_bytes(lines: tuple[str, ...]) -> bytes:
    for line in lines:
        if "\n" in line:
            raise InputError(f"negative prompt {line!r}: holds a line break; remove it")
    return "".join(f"{line}\n" for line in lines).encode()
