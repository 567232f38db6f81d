"""Recipes: complete sets of hyperparameters, by name, from TOML, and changed field by field."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from synood.errors import InputError
from synood.files import read_text, to_toml
from synood.settings import (
    PLUS_EVIDENCE,
    PLUS_PROJECTION,
    DescribeSettings,
    GuidanceSettings,
    MiningSettings,
    NegativeSettings,
    ProjectionSettings,
    Recipe,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

RECIPES: dict[str, Recipe] = {
    # The text of the paper. Equation 7 is Liu et al.'s (2020), which it quotes: the other sign, and
    # the hinge squared; its target is the authors' code's. docs/recipes.md has all differences.
    "paper": Recipe(name="paper"),
    # What the authors' code computes once its bugs are repaired, in single precision.
    "released": Recipe(
        name="released",
        describe=DescribeSettings(max_characters=73),  # [C] datasets.py:80
        guidance=GuidanceSettings(
            objective="uniformity",  # [C] generate_near_ood_sample.py:73-75
            target=-5.0,  # [C] generate_near_ood_sample.py:75; cannot be reached with 1,000 classes
            step_size=5.0,  # [C] 10 on the mean over a batch of 2
            redraw_grey=True,  # [C] generate_near_ood_sample.py:112-125
            preprocess="torchvision",  # [C] generate_near_ood_sample.py:91-92
        ),
        mining=MiningSettings(
            exclude_class_names=False,  # [C] the list holds class names
            labels="released",  # [C] ood_label_mining.py and its list
            class_names="first-synonym",  # [C] datasets.py:417-428
        ),
        projection=ProjectionSettings(class_prompt_set="released"),  # [C] datasets.py:424-426
        negatives=NegativeSettings(
            learning_rate=2e-2,  # [C] ood_label_finetuning.py:38
            images="four-kinds",  # [C] datasets.py:321-334
        ),
    ),
    # All of what differs from "paper" is [ours], chosen on validation images: docs/plus.md.
    "plus": Recipe(name="plus", projection=PLUS_PROJECTION, evidence=PLUS_EVIDENCE),
}

LARGEST = 2**31 - 1  # of a whole number: of a count, or as the seed of any generator
_Check = tuple[Callable[[Any], bool], str]
_COUNT: _Check = (lambda value: value is None or value >= 1, "at least 1")
_NOT_NEGATIVE: _Check = (lambda value: value >= 0, "0 or more")
_POSITIVE: _Check = (lambda value: value > 0, "greater than 0")
_SHARE: _Check = (lambda value: 0 < value <= 1, "greater than 0 and at most 1")
_OPEN_SHARE: _Check = (lambda value: 0 < value < 1, "between 0 and 1")
_ONE_SLOT: _Check = (lambda value: value.count("{}") == 1, "a text with one {} in it")

_LIMITS: dict[str, _Check] = {
    "select.per_class": _COUNT,
    "describe.template": _ONE_SLOT,
    "describe.max_characters": _COUNT,
    "guidance.strength": _SHARE,
    "guidance.num_inference_steps": _COUNT,
    "guidance.guidance_scale": _NOT_NEGATIVE,
    "guidance.rounds": _COUNT,
    "guidance.step_size": _NOT_NEGATIVE,
    "guidance.mu": _NOT_NEGATIVE,
    "guidance.sigma": _NOT_NEGATIVE,
    "guidance.guided_steps": _COUNT,
    "guidance.target_quantile": _OPEN_SHARE,
    "guidance.temperature": _POSITIVE,
    "mining.share": _SHARE,
    "mining.quantile": _SHARE,
    "mining.max_similarity": _SHARE,
    "mining.seed": _NOT_NEGATIVE,
    "projection.epochs": _COUNT,
    "projection.min_steps": _COUNT,
    "projection.batch_size": _COUNT,
    "projection.learning_rate": _POSITIVE,
    "projection.final_learning_rate": _NOT_NEGATIVE,
    "projection.weight_decay": _NOT_NEGATIVE,
    "projection.logit_scale": _POSITIVE,
    "projection.images_per_class": _COUNT,
    "projection.views": _NOT_NEGATIVE,
    "negatives.epochs": _COUNT,
    "negatives.min_steps": _COUNT,
    "negatives.batch_size": _COUNT,
    "negatives.learning_rate": _POSITIVE,
    "negatives.final_learning_rate": _NOT_NEGATIVE,
    "negatives.momentum": _NOT_NEGATIVE,
    "negatives.weight_decay": _NOT_NEGATIVE,
    "negatives.logit_scale": _POSITIVE,
    "score.temperature": _POSITIVE,
    "score.groups": _COUNT,
    "score.seed": _NOT_NEGATIVE,
    "evidence.text": _NOT_NEGATIVE,
    "evidence.distance": _NOT_NEGATIVE,
    "evidence.neighbour": _NOT_NEGATIVE,
    "evidence.head": _NOT_NEGATIVE,
    "evidence.head_penalty": _POSITIVE,
    "evidence.folds": _COUNT,
    "probe.per_class": _COUNT,
    "calibration.tpr": (_OPEN_SHARE[0], "between 0 and 1 (0.95, not 95)"),
    "calibration.per_class": _COUNT,
}


def resolve_recipe(
    recipe: str | Path | Recipe,
    bundle_defaults: Mapping[str, object] | None = None,
    assignments: Iterable[str] = (),
) -> Recipe:
    """Return the recipe that a run uses.

    Four layers, each over the one before: the named recipe ("paper", "released", "plus"), what the
    bundle brings for its models, the fields of a TOML file, the `field=value` assignments. A
    `Recipe` is taken as it is, except for the assignments. Raises `InputError` for an
    unknown name, a missing file, an unknown field (naming the nearest one), a value of the wrong
    kind or range, and fields that do not go together.
    """
    changes = [(_parse_assignment(text), f"--set {text}") for text in assignments]
    if isinstance(recipe, Recipe):
        return _checked_together(_changed(recipe, changes))
    base, document, source = _recipe_source(recipe)
    changes = [(document, source), *changes]
    fitting = _fitting_defaults(bundle_defaults or {}, _changed(base, changes))
    return _checked_together(_changed(with_changes(base, fitting, "the bundle's recipe"), changes))


def assigned_fields(assignments: Iterable[str]) -> set[str]:
    """Return the dotted names of the fields that `field=value` assignments set.

    >>> assigned_fields(["select.per_class=20"])
    {'select.per_class'}
    """
    return {key for text in assignments for key, _ in _flat(_parse_assignment(text))}


def _checked_together(recipe: Recipe) -> Recipe:
    """Return `recipe`, or raise an `InputError` where fields that are fine alone do not fit."""
    guidance = recipe.guidance
    steps = int(guidance.num_inference_steps * guidance.strength)
    if steps < 1:
        raise InputError(
            f"guidance.strength = {guidance.strength} of guidance.num_inference_steps = "
            f"{guidance.num_inference_steps} leaves no denoising step; raise one of them"
        )
    if guidance.method == "step" and (guidance.guided_steps or 1) > steps:
        raise InputError(
            f"guidance.guided_steps = {guidance.guided_steps} is more than the {steps} steps that "
            f"guidance.strength = {guidance.strength} leaves; lower it, or none for all"
        )
    return recipe


def _changed(recipe: Recipe, changes: Iterable[tuple[Mapping[str, object], str]]) -> Recipe:
    """Return `recipe` with layers of changes laid over it, each with its source."""
    for layer, source in changes:
        recipe = with_changes(recipe, layer, source)
    return recipe


def _fitting_defaults(defaults: Mapping[str, object], wanted: Recipe) -> dict[str, object]:
    """Return a bundle's defaults without those that make no sense for the objective wanted.

    A bundle knows its models, not which recipe is asked for: a quantile of energies is no target
    for the uniformity of a prediction.
    """
    flat = dict(_flat(defaults))
    if wanted.guidance.objective in ("uniformity", "msp"):
        flat.pop("guidance.target_quantile", None)
    return flat


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from TOML: the fields of `base` ("paper" if not given) and changes to them.

    The `run.toml` of a run directory is read as well: its table [recipe] holds every field.
    """
    return resolve_recipe(path)


def recipe_to_toml(recipe: Recipe) -> str:
    """Write every field of `recipe` as TOML; `read_recipe` reads back an equal recipe."""
    return to_toml(asdict(recipe))


def with_changes(recipe: Recipe, changes: Mapping[str, object], source: str) -> Recipe:
    """Return `recipe` with fields replaced; keys are nested tables or dotted ("score.groups").

    `source` is where the changes come from, for the message of the `InputError` that an unknown
    field or an unfit value raises.
    """
    known = _field_kinds()
    for key, value in _flat(changes):
        if key not in known:
            raise InputError(f"{source}: unknown recipe field {key!r}; {_nearest(key, known)}")
        checked = _checked(key, value, known[key], source)
        section, _, name = key.rpartition(".")
        part = replace(getattr(recipe, section), **{name: checked}) if section else checked
        whole: dict[str, Any] = {section or name: part}
        recipe = replace(recipe, **whole)
    return recipe


def _recipe_source(recipe: str | Path) -> tuple[Recipe, dict[str, object], str]:
    """Return the named recipe below, the changes to it, and what to call their source."""
    if not isinstance(recipe, (str, Path)):
        raise InputError(f"recipe: give a name, a TOML file or a Recipe, not {recipe!r}")
    if str(recipe) in RECIPES:
        return RECIPES[str(recipe)], {}, ""
    path = Path(recipe)
    if path.suffix != ".toml":
        names = ", ".join(RECIPES)
        if (path / "run.toml").is_file():
            names = f"{path / 'run.toml'}, {names}"
        raise InputError(f"unknown recipe {str(recipe)!r}: use {names} or a path ending in .toml")
    document = _read_toml(path)
    nested = document.get("recipe", document)
    if not isinstance(nested, dict):
        raise InputError(f"{path}: recipe must be a table")
    changes = dict(nested)
    base = changes.pop("base", "paper")
    if base not in RECIPES:
        raise InputError(f"{path}: unknown base {base!r}; use {' or '.join(RECIPES)}")
    changes.setdefault("name", path.stem)
    return RECIPES[str(base)], changes, str(path)


def _read_toml(path: Path) -> dict[str, Any]:
    text = read_text(path).replace("\r\n", "\n")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as TOML ({error})") from None


def _parse_assignment(text: str) -> dict[str, object]:
    """Read one `field=value`; a value that is not TOML is taken as text."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set {text}: write it as field=value, e.g. select.per_class=20")
    try:
        found = tomllib.loads(f"value = {value}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        found = value.strip()
    return {key.strip(): "{}" if found == {} else found}  # describe.template={} is a template


def _flat(table: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for key, value in table.items():
        if isinstance(value, Mapping):
            rows.extend(_flat(value, f"{prefix}{key}."))
        else:
            rows.append((f"{prefix}{key}", value))
    return rows


@cache
def _field_kinds() -> Mapping[str, Any]:
    """Map every dotted field name to its type annotation."""
    kinds: dict[str, Any] = {}
    for name, kind in get_type_hints(Recipe).items():
        if is_dataclass(kind):
            hints = get_type_hints(kind)
            kinds.update({f"{name}.{part.name}": hints[part.name] for part in fields(kind)})
        else:
            kinds[name] = kind
    return kinds


def _nearest(key: str, known: Iterable[str]) -> str:
    """Say which field may have been meant: of the whole name, of its last part, or all of them."""
    names = sorted(known)
    ends = {name.rpartition(".")[2] for name in names}
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.8)
    if not near:
        end = difflib.get_close_matches(key.rpartition(".")[2], sorted(ends), n=1)
        near = [name for name in names if name.rpartition(".")[2] in end]
    return f"did you mean {' or '.join(near)}?" if near else f"known fields: {', '.join(names)}"


def _checked(key: str, value: object, kind: Any, source: str) -> object:  # noqa: ANN401 - a type
    """Return `value` as the field's kind, or raise an `InputError` that says what is wanted."""
    options = get_args(kind) or (kind,)
    if type(None) in options and value in (None, "none"):
        return None
    if float in options and type(value) is int:
        value = float(value)
    fits = any(value == option or type(value) is option for option in options)
    if not fits or (isinstance(value, float) and not math.isfinite(value)):
        raise InputError(f"{source}: {key} must be {_kind_words(options)}, not {value!r}")
    if type(value) is int and abs(value) > LARGEST:
        raise InputError(f"{source}: {key} must be at most {LARGEST:,}, not {value!r}")
    allowed, words = _LIMITS.get(key, (lambda _: True, ""))
    if not allowed(value):
        raise InputError(f"{source}: {key} must be {words}, not {value!r}")
    return value


def _kind_words(options: tuple[object, ...]) -> str:
    words = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a text",
        type(None): '"none"',
    }
    return " or ".join(words.get(option, repr(option)) for option in options)  # type: ignore[call-overload]
