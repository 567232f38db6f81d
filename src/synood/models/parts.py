"""The kinds of parts that a bundle may have: one row a kind, naming what loads it.

A new kind is a new row here. The loader is imported when a part is loaded. It is called with
where the part lies (if the kind has a place at all), with the `given` of "device" and "encoder",
and with those `options` that the bundle states, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from synood.errors import InputError
from synood.files import read_json

if TYPE_CHECKING:
    from pathlib import Path

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Kind:
    """One kind of a part: what loads it, and which keys it may have in a bundle.json."""

    loader: str  # "module:name"
    places: tuple[str, ...] = ("path", "id")  # keys of which one must say where the part lies
    options: tuple[str, ...] = ("revision",)  # further keys, handed to the loader
    given: tuple[str, ...] = ("device",)  # what the loader is handed besides
    # whether a checkpoint's configuration is of this kind, where a bundle does not say the type
    recognises: Callable[[Config], bool] = lambda config: False
    # "module:name" of what tells, from place and revision, the recipe fields that suit such a part
    recipe: str | None = None
    # "module:name" of what tells which prompts fit, from place and revision, without weights
    prompt_limits: str | None = None

    def load(self, *place: str, **options: Any) -> Any:  # noqa: ANN401 - any part
        """Import the loader and call it."""
        return named(self.loader)(*place, **options)


def describer_from_json(path: Path) -> Any:  # noqa: ANN401 - a describer
    """Make a describer from a JSON object as it stands in a bundle under "describer".

    Raises:
        InputError: it is of a kind that works with a bundle's other parts, or has an unknown field.
    """
    part = read_json(path)
    kinds = {name for name, kind in PARTS["describer"].items() if not kind.given}
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in kinds:
        raise InputError(
            f"{path}: `type` is {kind!r}, not one of {', '.join(sorted(kinds))}; other describers "
            "belong into a bundle, or are exchanged in its name: --models paper+describer=ID"
        )
    rule = PARTS["describer"][kind]
    place = [part[name] for name in rule.places if name in part]
    options = {name: value for name, value in part.items() if name not in ("type", *rule.places)}
    unknown = sorted(options.keys() - set(rule.options))
    if unknown:
        raise InputError(f"{path}: no field {unknown[0]!r}; there are {', '.join(rule.options)}")
    try:
        return rule.load(*place, **options)
    except TypeError as error:
        raise InputError(f"{path}: {error}; see docs/describing.md") from None


def named(name: str) -> Any:  # noqa: ANN401 - whatever it names
    """Import what "module:name" or "module:class.method" names."""
    module, _, path = name.partition(":")
    found: Any = import_module(module)
    for attribute in path.split("."):
        found = getattr(found, attribute)
    return found


def _layers_are_a_list(config: Config) -> bool:
    """Whether an `open_clip_config.json` is of a ResNet: it has a number of layers a stage."""
    model = config.get("model_cfg", {})
    return isinstance(model.get("vision_cfg", {}).get("layers"), list)


PARTS: dict[str, dict[str, Kind]] = {
    "encoder": {
        "clip": Kind(
            "synood.models.clip:ClipEncoder.from_pretrained",
            options=("revision", "dtype"),
            recognises=lambda config: config.get("model_type") == "clip",
        ),
        "siglip": Kind(
            "synood.models.siglip:SiglipEncoder.from_pretrained",
            options=("revision", "dtype"),
            recognises=lambda config: config.get("model_type") == "siglip",
            recipe="synood.models.scale:recipe_defaults",
        ),
        "resnet-clip": Kind(
            "synood.models.resnet_clip:ResNetClipEncoder.from_pretrained",
            options=("revision", "dtype"),
            recognises=_layers_are_a_list,
        ),
        "open-clip": Kind(
            "synood.models.open_clip:OpenClipEncoder.from_pretrained",
            options=("revision", "dtype"),
            recognises=lambda config: "model_cfg" in config,
            recipe="synood.models.scale:recipe_defaults",
        ),
        "dual": Kind("synood.models.dual:DualEncoder.from_pretrained", ("path",), ()),
    },
    "inpainter": {
        "diffusers": Kind(
            "synood.models.inpainting:Inpainter.from_pretrained",
            options=("revision", "dtype"),
            recognises=lambda config: "_diffusers_version" in config,
            prompt_limits="synood.models._prompt_limits:PromptLimits.from_pretrained",
        ),
    },
    "classifier": {
        "timm": Kind(
            "synood.models.timm_classifier:TimmClassifier.from_pretrained",
            recognises=lambda config: "architecture" in config and "pretrained_cfg" in config,
        ),
        "transformers": Kind(
            "synood.models.classifier:TransformersClassifier.from_pretrained",
            recognises=lambda config: "model_type" in config,
        ),
    },
    "describer": {
        "tagger": Kind(
            "synood.models.describer:Tagger.from_file",
            ("vocabulary",),
            ("tags", "template", "exclude"),
            given=("encoder",),
        ),
        "file": Kind("synood.models.describer:FileDescriber", ("path",), (), given=()),
        "endpoint": Kind(
            "synood.models.endpoint:EndpointDescriber",
            places=(),
            options=(
                *("base_url", "model", "key_env", "question", "concurrency", "timeout", "retries"),
                *("max_side", "image_tokens", "price_in", "price_out", "max_cost", "extra"),
            ),
            given=(),
        ),
        "image-text": Kind(
            "synood.models.image_text:ImageTextDescriber.from_pretrained",
            options=("revision", "dtype", "question", "batch_size"),
            recognises=lambda config: "model_type" in config,
        ),
    },
}
