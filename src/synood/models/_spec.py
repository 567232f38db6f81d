"""The specification of a bundle: found by name, changed and validated before loading."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import synood
from synood.artifacts import mistaken_for
from synood.errors import CheckpointError, InputError
from synood.files import read_json
from synood.models.catalog import pinned
from synood.models.hub import MissingFileError
from synood.models.parts import PARTS, PartKind

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = 1
PLACES = {"path", "vocabulary", "text", "known"}  # fields of parts that are places in a bundle
_HERE = Path(synood.__file__).parent / "mini"
EMBEDDED = {"mini": _HERE / "bundle", "photo": _HERE / "photo"}
_OTHER_KEYS = {"schema", "name", "prompts", "words", "recipe", "files", "card"}
_ANY_KIND = {"encoder": {"type", "preprocess"}}  # keys that every kind of a part may have
_CONFIGS = ("open_clip_config.json", "model_index.json", "config.json")
_ALIASES = {"painter": "inpainter"}
_CHANGE = re.compile(rf"\+(?=(?:{'|'.join([*PARTS, *_ALIASES])})(?:\.\w+)?=)")

# The paper's models (§4.1) on the hub. Its in-painting checkpoint was removed from the hub in 2025;
# sd2-community has a copy. The authors' question to LLaVA is unpublished; models/questions.py has
# ours.
PAPER: dict[str, Any] = {
    "schema": SCHEMA,
    "name": "paper",
    "encoder": {"type": "clip", "id": "openai/clip-vit-base-patch16"},
    "inpainter": {"id": "sd2-community/stable-diffusion-2-inpainting"},
    "classifier": {"type": "transformers", "id": "microsoft/resnet-50"},
    "describer": {"type": "image-text", "id": "llava-hf/llava-1.5-7b-hf"},
    "prompts": "neglabel",
}
VARIANTS = {
    "paper-b32": "paper+encoder=openai/clip-vit-base-patch32",
    "paper-rn50": "paper+encoder=timm/resnet50_clip.openai",
    "paper-zimage": "paper+inpainter=Tongyi-MAI/Z-Image-Turbo",
    "paper-sdxl": "paper+inpainter=diffusers/stable-diffusion-xl-1.0-inpainting-0.1",
}


def find_spec(name: str) -> tuple[Path | None, dict[str, Any], str]:
    """Return root, validated spec and normalised changes for a bundle's full name."""
    start = _CHANGE.split(name)[0]
    name, *changes = _CHANGE.split(VARIANTS.get(start, start) + name[len(start) :])
    root, spec, where = _found(name)
    written = "".join("+" + _exchange(spec, change) for change in changes)
    _check_spec(spec, f"{where}{written}")
    for part in PARTS.keys() & spec.keys():
        _pin(spec[part])
    return root, spec, written


def _found(name: str) -> tuple[Path | None, dict[str, Any], str]:
    """Return a bundle's root, its spec, and its name in errors."""
    if name == PAPER["name"]:
        return None, json.loads(json.dumps(PAPER)), f"bundle {name!r}"
    root = EMBEDDED.get(name, Path(name))
    path = root / "bundle.json"
    if not path.is_file():
        named = ", ".join(repr(known) for known in (*EMBEDDED, "paper", *VARIANTS))
        problem = mistaken_for(root, "a bundle of models") or f"{path}: no such file"
        raise CheckpointError(f"{problem}; give {named} or a directory that holds a bundle.json")
    spec = read_json(path)
    _check_spec(spec, str(path))
    return root, spec, str(path)


def _exchange(spec: dict[str, Any], change: str) -> str:
    """Apply "part=PLACE" or "part.field=VALUE" to `spec`; return it with an absolute path."""
    target, _, value = change.partition("=")
    part, _, field = target.partition(".")
    part = _ALIASES.get(part, part)
    target = f"{part}.{field}" if field else part
    if not field and value in EMBEDDED:
        _take_embedded(spec, part, value)
    elif field in ("", "id", "path"):
        target = part
        value = str(Path(value).resolve()) if Path(value).is_dir() else value
        spec[part] = {"id": value}
    else:
        number = re.fullmatch(r"-?\d+(\.\d+)?", value) and field != "revision"
        spec.setdefault(part, {})[field] = json.loads(value) if number else value
    return f"{target}={value}"


def _take_embedded(spec: dict[str, Any], part: str, bundle: str) -> None:
    """Let a part of `spec` be the one of an embedded bundle."""
    other = read_json(EMBEDDED[bundle] / "bundle.json")
    if part not in other:
        raise InputError(f"+{part}={bundle}: bundle {bundle!r} has no {part!r}; name another")
    taken = dict(other[part])
    for key in PLACES & taken.keys():
        taken[key] = taken[key] if embedded_place(taken[key]) else f"{bundle}:{taken[key]}"
    spec[part] = taken


def embedded_place(place: str) -> tuple[str, str] | None:
    """Return bundle and path of a place "mini:PATH" in an embedded bundle; None for another.

    >>> embedded_place("mini:encoder/text")
    ('mini', 'encoder/text')
    """
    bundle, colon, path = place.partition(":")
    return (bundle, path) if colon and bundle in EMBEDDED else None


def _pin(part: dict[str, Any]) -> None:
    """Set the catalog's revision, so that it is recorded and differs from a later one."""
    revision = pinned(part["id"], part.get("revision")) if "id" in part else None
    if revision is not None:
        part["revision"] = revision


def configuration(source: str, revision: str | None) -> Mapping[str, Any]:
    """Read the first configuration file that a checkpoint has."""
    from synood.models.checkpoints import first_file, load_file

    path = first_file(source, _CONFIGS, revision)
    if path is None:
        with suppress(MissingFileError):
            load_file(source, _CONFIGS[-1], revision)  # tells where the hub cannot be reached
        raise CheckpointError(
            f"{source}: no checkpoint there; it has none of {', '.join(_CONFIGS)}"
        )
    config = read_json(path)
    return config if isinstance(config, dict) else {}


def _check_spec(spec: object, where: str) -> None:
    if not isinstance(spec, dict) or spec.get("schema") != SCHEMA:
        raise CheckpointError(f"{where}: `schema` must be {SCHEMA}; update synood or the bundle")
    unknown = sorted(spec.keys() - _OTHER_KEYS - PARTS.keys())
    if unknown:
        raise CheckpointError(f"{where}: unknown field {unknown[0]!r}")
    if not isinstance(spec.get("name"), str) or "encoder" not in spec:
        raise CheckpointError(f"{where}: needs a `name` and an `encoder`")
    for key in ("prompts", "words"):
        if not isinstance(spec.get(key, ""), str):
            raise CheckpointError(f"{where}: `{key}` must be a text")
    for key in ("files", "recipe"):
        if not isinstance(spec.get(key, {}), dict):
            raise CheckpointError(f"{where}: `{key}` must be an object")
    for key, kinds in PARTS.items():
        if key in spec:
            _check_part(key, spec[key], kinds, where)


def _check_part(key: str, part: object, kinds: Mapping[str, PartKind], where: str) -> None:
    if not isinstance(part, dict):
        raise CheckpointError(f"{where}: `{key}` must be an object")
    possible = list(kinds.values())
    if "type" in part:
        if not isinstance(part["type"], str) or part["type"] not in kinds:
            known = ", ".join(kinds)
            raise CheckpointError(f"{where}: `{key}.type` is {part['type']!r}, not one of {known}")
        possible = [kinds[part["type"]]]
    places = list(dict.fromkeys(place for kind in possible for place in kind.places))
    if places and sum(isinstance(part.get(place), str) for place in places) != 1:
        named = ", ".join(f"`{place}`" for place in places)
        raise CheckpointError(f"{where}: `{key}` needs exactly one of {named}")
    for place in sorted(PLACES & part.keys()):
        if not isinstance(part[place], str):
            raise CheckpointError(f"{where}: `{key}.{place}` must be a text")
    options = {option for kind in possible for option in kind.options}
    unknown = sorted(part.keys() - options - set(places) - _ANY_KIND.get(key, {"type"}))
    if unknown:
        raise CheckpointError(f"{where}: `{key}` has no field {unknown[0]!r}")
