"""The kinds of parts that a bundle may have: one row per kind, with its loader.

A new kind is a new row in `PARTS`. The loader is imported when a part is loaded. Its arguments are
the part's location (if the kind has one), those of "device" and "encoder" that `given` names, and
the `options` that the bundle sets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any

from synood.errors import InputError
from synood.files import read_json
from synood.models.families import NAFLEX, family_of, vision_family_of

if TYPE_CHECKING:
    from pathlib import Path

Config = Mapping[str, Any]


@dataclass(frozen=True)
class PartKind:
    """One kind of part: its loader, and the keys that it may have in a bundle.json."""

    loader: str  # "module:name"
    places: tuple[str, ...] = ("path", "id")  # keys, one of which must give the location
    options: tuple[str, ...] = ("revision",)  # further keys, passed to the loader
    given: tuple[str, ...] = ("device",)  # what the run adds
    # whether a checkpoint's configuration is of this kind, for bundles that give no type
    recognises: Callable[[Config], bool] = lambda config: False
    # "module:name" of a function: location and revision -> recipe fields that suit the part
    recipe: str | None = None
    # "module:name" of a function: location and revision -> which prompts fit, without weights
    prompt_limits: str | None = None
    more_places: tuple[str, ...] = ()  # options that are places in the bundle too
    reads_texts: bool = True  # of an encoder: not one of images alone

    @property
    def fields(self) -> set[str]:
        """Keys that a bundle.json may have for a part of this kind."""
        return {"type", "preprocess", *self.places, *self.options, *self.more_places}

    def load(self, where: str, *place: str, **options: Any) -> Any:  # noqa: ANN401 - any part
        """Import the loader and call it; a missing argument is an `InputError` about `where`."""
        loader = import_object(self.loader)
        try:
            signature(loader).bind(*place, **options)
        except TypeError as error:
            raise InputError(f"{where}: {error}; see docs/describing.md") from None
        return loader(*place, **options)


def describer_from_json(path: Path) -> Any:  # noqa: ANN401 - a describer
    """Make a describer from a JSON object as it stands in a bundle under "describer".

    Raises:
        InputError: its kind needs a bundle's other parts, or a field is unknown or invalid.
    """
    part = read_json(path)
    kinds = {name for name, kind in PARTS["describer"].items() if not kind.given}
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in kinds:
        raise InputError(
            f"{path}: `type` is {kind!r}, not one of {', '.join(sorted(kinds))}; other describers "
            "belong in a bundle, or replace its own: --models paper+describer=ID"
        )
    rule = PARTS["describer"][kind]
    place = [part[name] for name in rule.places if name in part]
    options = {name: value for name, value in part.items() if name not in ("type", *rule.places)}
    unknown = sorted(options.keys() - set(rule.options))
    if unknown:
        raise InputError(
            f"{path}: unknown field {unknown[0]!r}; the fields are {', '.join(rule.options)}"
        )
    return rule.load(str(path), *place, **options)


def import_object(name: str) -> Any:  # noqa: ANN401 - any object
    """Import the object at "module:name" or "module:class.method"."""
    module, _, path = name.partition(":")
    found: Any = import_module(module)
    for attribute in path.split("."):
        found = getattr(found, attribute)
    return found


def _layers_are_a_list(config: Config) -> bool:
    """Whether an `open_clip_config.json` describes a ResNet: it lists the layers of each stage."""
    model = config.get("model_cfg", {})
    return isinstance(model.get("vision_cfg", {}).get("layers"), list)


PARTS: dict[str, dict[str, PartKind]] = {
    "encoder": {
        "clip": PartKind(
            "synood.models.clip:ClipEncoder.from_pretrained",
            options=("revision", "dtype"),
            recognises=lambda config: config.get("model_type") == "clip",
        ),
        "siglip": PartKind(
            "synood.models.siglip:SiglipEncoder.from_pretrained",
            options=("revision", "dtype"),
            recognises=lambda config: config.get("model_type") == "siglip",
            recipe="synood.models.scale:recipe_defaults",
        ),
        "siglip2-naflex": PartKind(
            "synood.models.naflex:NaFlexEncoder.from_pretrained",
            options=("revision", "dtype", "max_num_patches"),
            recognises=lambda config: config.get("model_type") == NAFLEX,
            recipe="synood.models.scale:recipe_defaults",
        ),
        "transformers": PartKind(
            "synood.models.transformers_encoder:TransformersEncoder.from_pretrained",
            options=("revision", "dtype"),
            recognises=lambda config: family_of(config) is not None,
            recipe="synood.models.scale:recipe_defaults",
        ),
        "vision": PartKind(
            "synood.models.vision_encoder:VisionEncoder.from_pretrained",
            options=("revision", "dtype"),
            recognises=lambda config: vision_family_of(config) is not None,
            reads_texts=False,
        ),
        "resnet-clip": PartKind(
            "synood.models.resnet_clip:ResNetClipEncoder.from_pretrained",
            options=("revision", "dtype"),
            recognises=_layers_are_a_list,
        ),
        "open-clip": PartKind(
            "synood.models.open_clip:OpenClipEncoder.from_pretrained",
            options=("revision", "dtype"),
            recognises=lambda config: "model_cfg" in config,
            recipe="synood.models.scale:recipe_defaults",
        ),
        "dual": PartKind(
            "synood.models.dual:DualEncoder.from_pretrained", places=("path",), options=()
        ),
        "photo": PartKind(
            "synood.models.photo:PhotoEncoder.from_pretrained",
            places=("path",),
            more_places=("text", "known"),
            options=("text", "known"),
        ),
    },
    "inpainter": {
        "diffusers": PartKind(
            "synood.models.inpainting:load_inpainter",
            options=("revision", "dtype", "size"),
            recognises=lambda config: "_diffusers_version" in config,
            recipe="synood.models.few_steps:recipe_defaults",
            prompt_limits="synood.models.prompt_limits:PromptLimits.from_pretrained",
        ),
    },
    "classifier": {
        "timm": PartKind(
            "synood.models.timm_classifier:TimmClassifier.from_pretrained",
            recognises=lambda config: "architecture" in config and "pretrained_cfg" in config,
        ),
        "transformers": PartKind(
            "synood.models.classifier:TransformersClassifier.from_pretrained",
            recognises=lambda config: "model_type" in config,
        ),
        "photo": PartKind(
            "synood.models.photo:PhotoClassifier.from_pretrained", places=("path",), options=()
        ),
    },
    "describer": {
        "tagger": PartKind(
            "synood.models.describer:Tagger.from_file",
            ("vocabulary",),
            ("tags", "template", "exclude"),
            given=("encoder",),
        ),
        "file": PartKind("synood.models.describer:FileDescriber", ("path",), (), given=()),
        "endpoint": PartKind(
            "synood.models.endpoint:EndpointDescriber",
            places=(),
            options=(
                *("base_url", "model", "key_env", "question", "concurrency", "timeout", "retries"),
                *("max_side", "image_tokens", "price_in", "price_out", "max_cost", "extra"),
            ),
            given=(),
        ),
        "image-text": PartKind(
            "synood.models.image_text:ImageTextDescriber.from_pretrained",
            options=("revision", "dtype", "question", "batch_size"),
            recognises=lambda config: "model_type" in config,
        ),
    },
}
