"""Scores on disk, so that an interrupted table goes on where it was.

A file is taken only if everything that could change its scores is the same: the encoded images, the
run, the recipe, the seed and this package's own code.
"""

from __future__ import annotations

import json
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

import synood
from synood.benchmark.results.comparisons import SeedScores
from synood.files import fingerprint, read_json, replacing, sha256_bytes
from synood.settings import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from synood.benchmark.experiments.setup import Setup
    from synood.benchmark.protocol.encoding import EncodedSet

Scored: TypeAlias = tuple[list[SeedScores], dict[str, object]]
"""Scores under each seed, and what was chosen on validation images."""


def kept(setup: Setup, inputs: str, name: str, make: Callable[[], Scored]) -> Scored:
    """Return scores from the run's folder `scores`, or make and keep them.

    `name` and `inputs`, which is `inputs_of(setup)`, say what they are of.
    """
    if (found := found_kept(setup, inputs, name)) is None:
        _write(_path(setup, name), fingerprint("scores", name, inputs), make())
        found = found_kept(setup, inputs, name)
    assert found is not None, "it was written just now"
    return found


def found_kept(setup: Setup, inputs: str, name: str) -> Scored | None:
    """Return scores from the run's folder `scores`, if they are there and whole."""
    return _read(_path(setup, name), fingerprint("scores", name, inputs))


def _path(setup: Setup, name: str) -> Path:
    return setup.workspace.root / "scores" / f"{name}.safetensors"


def inputs_of(setup: Setup) -> str:
    """Return the fingerprint of all that the scores of any system depend on but the seed."""
    found = setup.inputs
    sets = (found.train, found.validation, *found.validation_ood)
    shown = (setup.encoded.test, *setup.encoded.test_ood)
    tuned = setup.workspace.root / "tune.json"
    return fingerprint(
        [_fingerprint(one) for one in (*sets, *shown)],
        identity(setup.recipe),
        found.class_names,
        found.outlier_names,
        found.models.part_fingerprint("encoder"),
        found.classifier.fingerprint,
        read_json(tuned) if tuned.is_file() else None,
        _code(),
    )


def _fingerprint(encoded: EncodedSet) -> str:
    arrays: list[NDArray[Any]] = [encoded.features, encoded.logits]
    arrays += [] if encoded.labels is None else [encoded.labels]
    hashes = [sha256_bytes(np.ascontiguousarray(array).tobytes()) for array in arrays]
    return fingerprint(encoded.name, encoded.group, hashes)


@cache
def _code() -> str:
    """Hash every module of this package: the scores of another version are not these."""
    root, found = Path(synood.__file__).parent, sha256()
    for path in sorted(root.rglob("*.py")):
        found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def _write(path: Path, inputs: str, scored: Scored) -> None:
    from safetensors.numpy import save_file

    scores, chosen = scored
    arrays: dict[str, NDArray[np.float32]] = {}
    for place, one in enumerate(scores):
        arrays[f"{place} id"] = one.in_distribution
        arrays |= {f"{place} ood {key}": value for key, value in one.ood.items()}
        arrays |= {f"{place} ids {key}": value for key, value in one.id_by_set.items()}
    record = {
        "inputs": inputs,
        "chosen": chosen,
        "seeds": [one.seed for one in scores],
        "sets": [*scores[0].ood],
        "streams": [one.streams for one in scores],
    }
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as part:
        whole = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
        save_file(whole, part, {"scores": json.dumps(record)})


def _read(path: Path, inputs: str) -> Scored | None:
    """Return what is in a file if it was made from `inputs` and is whole."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            record: dict[str, Any] = json.loads((file.metadata() or {}).get("scores", "{}"))
            if record.get("inputs") != inputs:
                return None
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError):
        return None
    scores = [
        SeedScores(
            seed,
            arrays[f"{place} id"],
            {key: arrays[f"{place} ood {key}"] for key in record["sets"]},
            _of_sets(arrays, place, record["sets"]),
            streams,
        )
        for place, (seed, streams) in enumerate(
            zip(record["seeds"], record["streams"], strict=True)
        )
    ]
    return scores, record["chosen"]


def _of_sets(
    arrays: dict[str, NDArray[np.float32]], place: int, sets: Iterable[str]
) -> dict[str, NDArray[np.float32]]:
    keys = {key: f"{place} ids {key}" for key in sets}
    return {key: arrays[name] for key, name in keys.items() if name in arrays}
