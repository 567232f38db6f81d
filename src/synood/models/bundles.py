"""Bundles: which checkpoints belong together, where they lie, and their hashes.

A bundle is a directory with a `bundle.json`:

    {"schema": 1, "name": "mine",
     "encoder": {"type": "clip", "path": "encoder"},
     "inpainter": {"path": "inpainter"},
     "classifier": {"id": "microsoft/resnet-50", "revision": "34c2154c"},
     "describer": {"type": "tagger", "vocabulary": "vocabulary.txt"},
     "prompts": "neglabel",
     "recipe": {"select": {"per_class": 20}},
     "files": {"encoder/model.safetensors": "<sha256>", ...}}

A place "mini:PATH" or "photo:PATH" lies in that embedded bundle, so that nothing need ship twice,
and is checked by that bundle's hashes.

Only `schema`, `name` and `encoder` are required. A part has a `path` inside the bundle or the
`id` of a hub repository; `models/parts.py` lists its other fields. Without a `type`, the type is
recognised from the checkpoint's configuration. `files`, where given, must list every file of the
parts, and each is verified before it is opened.

An encoder may name a `preprocess`: "fast", one of the presets "clip", "neglabel" and "openood", or
"clip-upright" and so on; the default is its checkpoint's own.

The bundle's name can replace any part of it by a hub id, a folder or an embedded bundle's, and any
single field ("painter" stands for "inpainter"):
`paper+encoder=google/siglip-base-patch16-224+encoder.dtype=bfloat16`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synood.errors import CheckpointError, InputError
from synood.files import fingerprint, read_text
from synood.models._bundle_files import BundleFiles, hashes_below
from synood.models._spec import (
    EMBEDDED,
    PAPER,
    PLACES,
    VARIANTS,
    configuration,
    embedded_place,
    find_spec,
)
from synood.models.families import REFUSED
from synood.models.parts import PARTS, PartKind, import_object
from synood.settings import MiningSettings, ScoreSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from synood.labels.wordnet import Word
    from synood.models.classifier import Classifier
    from synood.models.clip import ImageTextEncoder
    from synood.models.describer import Describer
    from synood.models.latents import LatentInpainter
    from synood.models.prompt_limits import PromptLimits

__all__ = ["EMBEDDED", "PAPER", "VARIANTS", "Bundle", "load_bundle"]

_CLIP_SCALE = {
    "score.temperature": 0.01,
    "projection.logit_scale": 100.0,
    "negatives.logit_scale": 100.0,
}


@dataclass(frozen=True)
class Bundle:
    """Checkpoints that belong together; each part is loaded when it is asked for.

    `root` is None where every part comes from the hub. `changes` are the replaced parts, as written
    after the bundle's name.

    >>> bundle = load_bundle("mini")  # doctest: +SKIP
    >>> bundle.encoder().encode_texts(["a photo of a cat"]).shape  # doctest: +SKIP
    (1, 384)
    """

    name: str
    root: Path | None
    spec: Mapping[str, Any]
    changes: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits over the spec and, where it lists no hashes, over the files."""
        folders = {part: files for part in (*PARTS, "words") if (files := self.foreign_files(part))}
        foreign = [folders] if folders else []
        if self.root is None or "files" in self.spec:
            return fingerprint(self.spec, *foreign)
        return fingerprint(self.spec, hashes_below(self.root), *foreign)

    @property
    def place(self) -> str | None:
        """Path and changes that find a user's own bundle again; None for those found by name."""
        if self.root is None or self.root in EMBEDDED.values():
            return None
        return f"{self.root.resolve()}{self.changes}"

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of its parts, in the order in which a run uses them."""
        return tuple(part for part in PARTS if part in self.spec)

    @property
    def prompt_set(self) -> str:
        """Name of the prompt set that suits the encoder."""
        return str(self.spec.get("prompts", "neglabel"))

    @property
    def recipe_defaults(self) -> dict[str, Any]:
        """Recipe fields that suit these models, with nested or dotted keys; later ones override.

        Those of the in-painting model come before what a bundle says of its own, and after it where
        the model was exchanged for another.
        """
        fields = self.recipe_without_inpainter
        if "inpainter" not in self.spec:
            return fields
        exchanged = "+inpainter=" in self.changes
        return {**fields, **self._steps} if exchanged else {**self._steps, **fields}

    @cached_property
    def _steps(self) -> dict[str, Any]:
        """Recipe fields that suit the in-painting model: of one that is distilled for few steps.

        Its configuration is read, and nothing verified; loading it does that.
        """
        part = self._part("inpainter")
        recipe = self._kind("inpainter", part).recipe
        embedded = embedded_place(part.get("path", "")) or self.root in EMBEDDED.values()
        if recipe is None or ("path" in part and embedded):
            return {}
        place = part["id"] if "id" in part else str(self._files.inside(part["path"]))
        fields: dict[str, Any] = import_object(recipe)(place, part.get("revision"))
        return fields

    @property
    def recipe_without_inpainter(self) -> dict[str, Any]:
        """Recipe fields that do not depend on the in-painting model: no file of it is read."""
        own = {"mining.prompt_set": self.prompt_set, **self.spec.get("recipe", {})}
        # fields in the unit of the bundle's own encoder do not apply to its replacement
        return {**own, **self._scale} if self._exchanged else {**self._scale, **own}

    @property
    def score_temperature(self) -> float:
        """Temperature of the score that suits the encoder's cosines."""
        fields = {**_CLIP_SCALE, **self._recipe_fields}
        return float(fields["score.temperature"])

    @property
    def score(self) -> ScoreSettings:
        """Equation 2's settings with what the bundle changes, the temperature among them."""
        return ScoreSettings(**{"temperature": self.score_temperature, **self._changed("score")})

    @property
    def mining(self) -> MiningSettings:
        """NegLabel's settings with what the bundle changes: how negative labels are mined."""
        return MiningSettings(**self._changed("mining"))

    def _changed(self, table: str) -> dict[str, Any]:
        """The fields of one table of the recipe that the bundle changes."""
        fields, start = self._recipe_fields, f"{table}."
        return {key.removeprefix(start): fields[key] for key in fields if key.startswith(start)}

    @property
    def _recipe_fields(self) -> dict[str, Any]:
        """The fields of `recipe_defaults` by dotted name."""
        fields: dict[str, Any] = {}
        for key, value in self.recipe_without_inpainter.items():
            table = value if isinstance(value, dict) else {"": value}
            fields |= {f"{key}.{name}" if name else key: field for name, field in table.items()}
        return fields

    @cached_property
    def _scale(self) -> dict[str, float]:
        """Recipe fields that depend on the scale of the encoder's logits."""
        part = self._part("encoder")
        kind = self._kind("encoder", part)
        if kind.recipe is None:
            return _CLIP_SCALE if self._exchanged else {}
        place = [self._located(part, key) for key in kind.places if key in part]
        fields: dict[str, float] = import_object(kind.recipe)(*place, part.get("revision"))
        return fields

    @property
    def _exchanged(self) -> bool:
        return "+encoder=" in self.changes

    @property
    def reads_texts(self) -> bool:
        """Whether the encoder reads texts; one of images alone gives image evidence alone."""
        return self._kind("encoder", self._part("encoder")).reads_texts

    def encoder(self, device: str = "cpu", preset: str | None = None) -> ImageTextEncoder:
        """Load the image-text encoder, with a preprocessing preset: the bundle's own, if any."""
        from synood.models.presets import with_preset

        encoder: ImageTextEncoder = self._load("encoder", device=device)
        named = preset or self.spec["encoder"].get("preprocess")
        return encoder if named is None else with_preset(encoder, str(named))

    def inpainter(self, device: str = "cpu") -> LatentInpainter:
        """Load the in-painting model; needs diffusers (the extra `synth`)."""
        inpainter: LatentInpainter = self._load("inpainter", device=device)
        return inpainter

    def check_steerable(self) -> None:
        """Raise an `InputError` if guidance.method "step" cannot guide the in-painting model."""
        from synood.models._diffusers_layout import check_steerable

        part = self._part("inpainter")
        check_steerable(self._checkpoint(part), part.get("revision"))

    def prompt_limits(self) -> PromptLimits | None:
        """Tell which prompts fit the in-painting model, without loading it; None: any."""
        part = self._part("inpainter")
        kind = self._kind("inpainter", part)
        if kind.prompt_limits is None:
            return None
        place = [self._located(part, key) for key in kind.places if key in part]
        limits: PromptLimits = import_object(kind.prompt_limits)(*place, part.get("revision"))
        return limits

    def classifier(self, device: str = "cpu") -> Classifier | None:
        """Load the classifier; None where the bundle has none, so that a probe must be trained."""
        if "classifier" not in self.spec:
            return None
        classifier: Classifier = self._load("classifier", device=device)
        return classifier

    def describer(self, encoder: ImageTextEncoder, device: str = "cpu") -> Describer:
        """Make the describer; a tagger works with `encoder`."""
        describer: Describer = self._load("describer", encoder=encoder, device=device)
        return describer

    def words(self) -> tuple[Word, ...]:
        """Candidates for negative labels: the bundle's own list, else the shipped WordNet words.

        A list of the bundle's own has one noun a line, or "word<TAB>adjective".
        """
        from synood.labels.wordnet import Word, shipped_words

        if "words" not in self.spec:
            return shipped_words()
        rows = (line.partition("\t") for line in self._lines(self.spec["words"]))
        return tuple(
            Word(text, "adjective" if pos == "adjective" else "noun", "") for text, _, pos in rows
        )

    def foreign_files(self, key: str) -> dict[str, str]:
        """SHA-256 of the files of a part that lie in a folder outside the bundle, or in another."""
        part = self.spec.get(key, {})
        if isinstance(part, str):  # the words
            return _embedded_hashes(part)
        folder = Path(part.get("id", ""))
        found = hashes_below(folder) if folder.is_absolute() else {}
        for place in (part[name] for name in sorted(PLACES & part.keys())):
            found |= _embedded_hashes(place)
        return found

    def check_available(self, parts: Iterable[str]) -> None:
        """Raise one `HubError` that names all parts that cannot be fetched and are not cached."""
        from synood.models.hub import check_available

        named = [self.spec[part] for part in parts if "id" in self.spec.get(part, {})]
        check_available([(part["id"], part.get("revision")) for part in named])

    def from_hub(self, key: str) -> dict[str, Any]:
        """Commit and SHA-256 of the weights of a part that the local hub cache holds, or nothing.

        So that a run records its models even where the catalog has no hash.
        """
        part = self.spec.get(key, {})
        if "id" not in part or Path(part["id"]).is_dir():
            return {}
        from synood.models.hub import cached_commit, cached_weights

        weights = cached_weights(part["id"], part.get("revision"))
        commit = cached_commit(part["id"], part.get("revision"))
        return {"commit": commit, "weights": weights} if weights else {}

    def _load(self, key: str, **given: Any) -> Any:  # noqa: ANN401 - the part asked for
        part = self._part(key)
        kind = self._kind(key, part)
        place = [self._located(part, name) for name in kind.places if name in part]
        options = {name: part[name] for name in kind.options if name in part}
        options |= {name: self._located(part, name) for name in kind.more_places if name in part}
        where = f"bundle {self.name!r}, {key}"
        if strange := sorted(part.keys() - kind.fields):
            raise InputError(
                f"{where}: this checkpoint's loader takes no {strange[0]!r}, only "
                f"{', '.join(kind.options) or 'no options'}"
            )
        return kind.load(where, *place, **{name: given[name] for name in kind.given}, **options)

    def _kind(self, key: str, part: Mapping[str, Any]) -> PartKind:
        """Return the kind of a part: its `type`, the only kind there is, or as its files show."""
        kinds = PARTS[key]
        if "type" in part or len(kinds) == 1:
            return kinds[part.get("type", next(iter(kinds)))]
        source = self._checkpoint(part)
        config = configuration(source, part.get("revision"))
        for kind in kinds.values():
            if kind.recognises(config):
                return kind
        if key == "encoder" and (reason := REFUSED.get(str(config.get("model_type")))):
            raise CheckpointError(f"{source}: cannot be an encoder here: {reason}")
        raise CheckpointError(
            f"{source}: its configuration matches no kind of {key}; give a `type`, "
            f"one of {', '.join(kinds)}"
        )

    def _part(self, key: str) -> Mapping[str, Any]:
        if key not in self.spec:
            where = f"{self.root}/bundle.json" if self.root else f"bundle {self.name!r}"
            raise InputError(f"{where}: has no {key!r}; add one or choose another bundle")
        part: Mapping[str, Any] = self.spec[key]
        return part

    def _checkpoint(self, part: Mapping[str, Any]) -> str:
        """Return the hub id of a part's checkpoint, or the checked path of its folder."""
        return self._located(part, "id" if "id" in part else "path")

    def _located(self, part: Mapping[str, Any], key: str) -> str:
        """Return a hub id as it is, or the checked path of a folder or file of the bundle."""
        if key == "id":
            return str(part[key])
        if found := embedded_place(part[key]):
            other, name = found
            return load_bundle(other)._located({key: name}, key)
        return str(self._files.checked(part[key]))

    def _lines(self, name: str) -> list[str]:
        text = read_text(Path(self._located({"path": name}, "path")))
        return [line.strip() for line in text.splitlines() if line.strip()]

    @property
    def _files(self) -> BundleFiles:
        return BundleFiles(self.name, self.root, self.spec.get("files"))


def load_bundle(name_or_dir: str | Path | Bundle) -> Bundle:
    """Find a bundle: "photo" or "mini" (embedded), "paper" (hub ids), or a directory's bundle.json.

    "+part=ID" or "+part=FOLDER" after the name replaces a part, "+part.field=VALUE" one field.
    No model is loaded yet.

    Raises:
        CheckpointError: the name is unknown or bundle.json is invalid; it names file and field.

    >>> load_bundle("paper+encoder=openai/clip-vit-base-patch32").spec["encoder"]["id"]
    'openai/clip-vit-base-patch32'
    """
    if isinstance(name_or_dir, Bundle):
        return name_or_dir
    root, spec, changes = find_spec(str(name_or_dir))
    return Bundle(f"{spec['name']}{changes}", root, spec, changes)


def _embedded_hashes(place: str) -> dict[str, str]:
    """Return the SHA-256 of the files at a place of an embedded bundle; none for another place."""
    found = embedded_place(place)
    if found is None:
        return {}
    bundle, path = found
    listed = load_bundle(bundle).spec["files"]
    return {
        f"{bundle}:{name}": digest
        for name, digest in listed.items()
        if name == path or name.startswith(f"{path}/")
    }
