"""Bundles: which checkpoints belong together, where they lie, and their hashes.

A bundle is a directory with a `bundle.json`:

    {"schema": 1, "name": "mine",
     "encoder": {"type": "clip", "path": "encoder"},
     "inpainter": {"path": "inpainter"},
     "classifier": {"type": "transformers", "path": "classifier"},
     "describer": {"type": "tagger", "vocabulary": "vocabulary.txt"},
     "prompts": "neglabel",
     "recipe": {"select": {"per_class": 20}},
     "files": {"encoder/model.safetensors": "<sha256>", ...}}

Only `schema`, `name` and `encoder` are required. A part has a `path` inside the bundle or the
`id` and `revision` of a hub repository. Where `files` is given it must list every file of the
parts, and each is checked before it is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import synood
from synood.errors import CheckpointError, InputError
from synood.files import fingerprint, read_json, sha256_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from synood.labels.wordnet import Word
    from synood.models.classifier import Classifier
    from synood.models.clip import ImageTextEncoder
    from synood.models.describer import Describer
    from synood.models.inpainting import Inpainter

SCHEMA = 1
EMBEDDED = Path(synood.__file__).parent / "zoo" / "mini"
_PARTS = {
    "encoder": ("dual", "clip"),
    "inpainter": ("diffusers",),
    "classifier": ("transformers",),
    "describer": ("tagger", "file"),
}
_OTHER_KEYS = {"schema", "name", "prompts", "words", "recipe", "files", "card"}
_PAPERS = ("readme", "license", "licence", "notice")  # starts of names that no loader opens

# The paper's models (§4.1) on the hub. Its in-painting checkpoint has left its first place in
# 2025; sd2-community holds the copy. The question put to LLaVA is unpublished, so there is no
# describer: a bundle.json of one's own with these ids and a describer of type "file" brings texts.
_PAPER: dict[str, Any] = {
    "schema": SCHEMA,
    "name": "paper",
    "encoder": {"type": "clip", "id": "openai/clip-vit-base-patch16"},
    "inpainter": {"id": "sd2-community/stable-diffusion-2-inpainting"},
    "classifier": {"type": "transformers", "id": "microsoft/resnet-50"},
    "prompts": "neglabel",
}


@dataclass(frozen=True)
class Bundle:
    """Checkpoints that belong together; each part is loaded when it is asked for.

    `root` is None where every part comes from the hub.

    >>> bundle = load_bundle("mini")  # doctest: +SKIP
    >>> bundle.encoder().encode_texts(["a photo of a cat"]).shape  # doctest: +SKIP
    (1, 384)
    """

    name: str
    root: Path | None
    spec: Mapping[str, Any]

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits over the spec and, where it lists no hashes, over the files."""
        if self.root is None or "files" in self.spec:
            return fingerprint(self.spec)
        files = _files_below(self.root)
        hashes = {path.relative_to(self.root).as_posix(): sha256_file(path) for path in files}
        return fingerprint(self.spec, hashes)

    @property
    def place(self) -> str | None:
        """Absolute directory of a bundle of one's own; None for those found by name."""
        if self.root is None or self.root == EMBEDDED:
            return None
        return str(self.root.resolve())

    @property
    def prompt_set(self) -> str:
        """Name of the prompt set that suits the encoder."""
        return str(self.spec.get("prompts", "neglabel"))

    @property
    def recipe_defaults(self) -> dict[str, Any]:
        """Recipe fields that suit these models (nested or dotted keys), later ones over earlier."""
        return {"mining.prompt_set": self.prompt_set, **self.spec.get("recipe", {})}

    def encoder(self, device: str = "cpu") -> ImageTextEncoder:
        """Load the image-text encoder."""
        part = self._part("encoder")
        source = self._source(part)
        if part["type"] == "dual":
            from synood.models.dual import DualEncoder

            dual: ImageTextEncoder = DualEncoder.from_pretrained(Path(source), device=device)
            return dual
        from synood.models.clip import ClipEncoder

        return ClipEncoder.from_pretrained(source, device=device, revision=part.get("revision"))

    def inpainter(self, device: str = "cpu") -> Inpainter:
        """Load the in-painting model; needs diffusers (the extra `synth`)."""
        from synood.models.inpainting import Inpainter

        part = self._part("inpainter")
        return Inpainter.from_pretrained(
            self._source(part), device=device, revision=part.get("revision")
        )

    def classifier(self, device: str = "cpu") -> Classifier | None:
        """Load the classifier, or None where the bundle has none and a probe must be trained."""
        if "classifier" not in self.spec:
            return None
        from synood.models.classifier import TransformersClassifier

        part = self._part("classifier")
        return TransformersClassifier.from_pretrained(
            self._source(part), device=device, revision=part.get("revision")
        )

    def describer(self, encoder: ImageTextEncoder) -> Describer:
        """Make the describer: a tagger on `encoder`, or a file of texts."""
        from synood.models.describer import FileDescriber, Tagger

        part = self._part("describer")
        if part["type"] == "file":
            return FileDescriber(self._checked_file(part["path"]))
        vocabulary = self._lines(part["vocabulary"])
        options = {key: part[key] for key in ("tags", "template", "exclude") if key in part}
        return Tagger(encoder, vocabulary, **options)

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

    def _part(self, key: str) -> Mapping[str, Any]:
        if key not in self.spec:
            where = f"{self.root}/bundle.json" if self.root else f"bundle {self.name!r}"
            raise InputError(f"{where}: has no {key!r}; add one or choose another bundle")
        part: Mapping[str, Any] = self.spec[key]
        return part

    def _source(self, part: Mapping[str, Any]) -> str:
        """Return the checked directory of a part, or its hub id."""
        if "id" in part:
            return str(part["id"])
        directory = self._inside(part["path"])
        if not directory.is_dir():
            raise CheckpointError(f"{directory}: missing; restore the bundle {self.name!r}")
        for path in self._expected_below(part["path"]) | set(_files_below(directory)):
            self._check(path)
        return str(directory)

    def _expected_below(self, folder: str) -> set[Path]:
        prefix = PurePosixPath(folder)
        names = (PurePosixPath(name) for name in self.spec.get("files", {}))
        return {self._inside(str(name)) for name in names if prefix in name.parents}

    def _checked_file(self, name: str) -> Path:
        path = self._inside(name)
        self._check(path)
        return path

    def _lines(self, name: str) -> list[str]:
        text = self._checked_file(name).read_text(encoding="utf-8")
        return [line.strip() for line in text.splitlines() if line.strip()]

    def _check(self, path: Path) -> None:
        """Refuse a file that is missing, altered, unlisted or a link out of the bundle."""
        root = self._root()
        if not path.is_file():
            raise CheckpointError(f"{path}: missing; restore the bundle {self.name!r}")
        if not path.resolve().is_relative_to(root.resolve()):
            raise CheckpointError(f"{path}: is a link out of the bundle; put the file itself there")
        if "files" not in self.spec:
            return
        expected = self.spec["files"].get(path.relative_to(root).as_posix())
        if expected is None:
            raise CheckpointError(f"{path}: not listed in {root}/bundle.json; remove it or list it")
        if sha256_file(path) != expected:
            raise CheckpointError(
                f"{path}: altered (its SHA-256 is not the one in bundle.json); restore the bundle"
            )

    def _inside(self, name: str) -> Path:
        pure = PurePosixPath(name)
        if not name or pure.is_absolute() or ".." in pure.parts or "\\" in name:
            raise CheckpointError(f"{self._root()}/bundle.json: {name!r} is not inside the bundle")
        return self._root().joinpath(*pure.parts)

    def _root(self) -> Path:
        if self.root is None:
            raise CheckpointError(f"bundle {self.name!r}: a `path` needs a directory; use an `id`")
        return self.root


def load_bundle(name_or_dir: str | Path | Bundle) -> Bundle:
    """Find a bundle: "mini" (embedded), "paper" (hub ids), or a directory with bundle.json.

    Nothing is loaded yet. An unknown name, or a bundle.json that cannot be used, is a
    `CheckpointError` naming file and field.

    >>> load_bundle("paper").prompt_set
    'neglabel'
    """
    if isinstance(name_or_dir, Bundle):
        return name_or_dir
    if str(name_or_dir) == "paper":
        return Bundle("paper", None, _PAPER)
    root = EMBEDDED if str(name_or_dir) == "mini" else Path(name_or_dir)
    path = root / "bundle.json"
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such file; give 'mini', 'paper' or a directory that holds a bundle.json"
        )
    spec = read_json(path)
    _check_spec(spec, path)
    return Bundle(spec["name"], root, spec)


def _check_spec(spec: object, path: Path) -> None:
    if not isinstance(spec, dict) or spec.get("schema") != SCHEMA:
        raise CheckpointError(f"{path}: `schema` must be {SCHEMA}; update synood or the bundle")
    unknown = sorted(spec.keys() - _OTHER_KEYS - _PARTS.keys())
    if unknown:
        raise CheckpointError(f"{path}: unknown field {unknown[0]!r}")
    if not isinstance(spec.get("name"), str) or "encoder" not in spec:
        raise CheckpointError(f"{path}: needs a `name` and an `encoder`")
    for key in ("files", "recipe"):
        if not isinstance(spec.get(key, {}), dict):
            raise CheckpointError(f"{path}: `{key}` must be an object")
    for key, types in _PARTS.items():
        if key in spec:
            _check_part(key, spec[key], types, path)


def _check_part(key: str, part: object, types: tuple[str, ...], path: Path) -> None:
    if not isinstance(part, dict):
        raise CheckpointError(f"{path}: `{key}` must be an object")
    kind = part.get("type", types[0] if len(types) == 1 else None)
    if kind not in types:
        raise CheckpointError(f"{path}: `{key}.type` is {kind!r}, not one of {', '.join(types)}")
    place = "vocabulary" if kind == "tagger" else "path"
    if isinstance(part.get(place), str) == (isinstance(part.get("id"), str) and key != "describer"):
        raise CheckpointError(f"{path}: `{key}` needs either a `{place}` or an `id`")


def _files_below(directory: Path) -> list[Path]:
    """Every file that a loader might open, sorted; papers such as README and LICENSE left out."""
    return [
        path
        for path in sorted(directory.rglob("*"))
        if not path.is_dir() and not _is_paper(path.relative_to(directory))
    ]


def _is_paper(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts) or path.name.lower().startswith(_PAPERS)
