"""A finished run is replaced by one with other inputs only on request."""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from synood.errors import InputError
from synood.files import read_json, read_text, readable
from synood.pipeline.recipe import read_recipe
from synood.pipeline.stages.select import choice_differs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from synood.images.sources import ImageIndex
    from synood.models.loaded import Models
    from synood.settings import Recipe


def check_same_run(
    root: Path,
    index: ImageIndex,
    models: Models,
    recipe: Recipe,
    seed: int,
    negatives: str | None,
) -> None:
    """Raise an `InputError` where `root` holds a finished run of other inputs, naming them.

    A run is finished when its detector is there; an unfinished one may change in any way.
    """
    if not _is_finished(root):
        return
    found = list(_differences(root, index, models, recipe, seed, negatives))
    if not found and (root / "select.jsonl").is_file() and choice_differs(root, index, recipe):
        found.append("other images")
    _refuse(root, found)


def check_same_classes(root: Path, class_names: Sequence[str]) -> None:
    """Raise an `InputError` where `root` holds a finished run of other classes, naming them.

    Of what `check_same_run` compares this is what is known before any image is encoded.
    """
    if _is_finished(root):
        _refuse(root, list(_other_classes(root, class_names)))


def _is_finished(root: Path) -> bool:
    return (root / "detector" / "config.json").is_file()


def _refuse(root: Path, found: Sequence[str]) -> None:
    if found:
        raise InputError(
            f"{readable(root)}: holds a finished run that differs ({'; '.join(found)}), and its "
            "detector would be replaced: choose another directory, or add --overwrite "
            "(overwrite=True in Python)"
        )


def _other_classes(root: Path, class_names: Sequence[str]) -> Iterator[str]:
    classes = read_json(root / "detector" / "config.json").get("class_names")
    if classes != list(class_names):
        yield f"classes {_names(classes)} there, {_names(class_names)} now"


def _differences(
    root: Path,
    index: ImageIndex,
    models: Models,
    recipe: Recipe,
    seed: int,
    negatives: str | None,
) -> Iterator[str]:
    """Yield what differs from the run in `root`, in words."""
    yield from _other_classes(root, index.class_names)
    path = root / "run.toml"
    if not path.is_file():
        return
    made = tomllib.loads(read_text(path))
    yield from _changed_fields(read_recipe(path), recipe)
    inputs, used = made.get("inputs", {}), made.get("models", {})
    for name, before, now in (
        ("seed", made.get("seed"), seed),
        ("negative labels", inputs.get("negatives", "mined"), negatives or "mined"),
        ("models", used.get("fingerprint"), models.bundle.fingerprint),
        ("describer", used.get("describer_used"), models.describer_fingerprint),
        ("in-painter's precision", used.get("inpainter_dtype"), models.inpainter_dtype),
    ):
        if before != now:
            yield f"{name} {before} there, {now} now"


def _changed_fields(before: Recipe, now: Recipe) -> Iterator[str]:
    old, new = _flat(asdict(before)), _flat(asdict(now))
    for key, value in new.items():
        if old[key] != value:
            yield f"{key} {old[key]} there, {value} now"


def _flat(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _names(classes: object) -> str:
    names = [str(name) for name in classes] if isinstance(classes, (list, tuple)) else []
    return ", ".join(names[:3]) + (f", ... ({len(names)})" if len(names) > 3 else "")
