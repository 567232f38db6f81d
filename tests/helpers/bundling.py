"""A whole tiny bundle on disk: every part a random checkpoint in its real layout, with hashes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import tiny
from synood.files import sha256_file, write_json

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = ("cat", "dog", "tree")
WORDS = ("rope", "lamp", "tower", "cat", "stone", "bell", "spoon", "river", "cloud", "engine")


def tiny_bundle(root: Path, *, inpainter: bool = False, seed: int = 0) -> Path:
    """Encoder, classifier, describer and words; the in-painter only where it is asked for."""
    tiny.tiny_clip(root / "encoder", seed=seed)
    tiny.tiny_resnet(root / "classifier", CLASSES)
    (root / "vocabulary.txt").write_text("rope\nlamp\nriver\n\ncat food\n")
    lines = [*WORDS, "mossy\tadjective", "brisk\tadjective"]
    (root / "words.tsv").write_text("".join(line + "\n" for line in lines))
    spec = {
        "schema": 1,
        "name": "tiny",
        "encoder": {"type": "clip", "path": "encoder"},
        "classifier": {"type": "transformers", "path": "classifier"},
        "describer": {"type": "tagger", "vocabulary": "vocabulary.txt", "tags": 1},
        "words": "words.tsv",
        "prompts": "photo",
        "recipe": {"select": {"per_class": 3}},
    }
    if inpainter:
        tiny.tiny_inpainting(root / "inpainter")
        spec["inpainter"] = {"path": "inpainter"}
    (root / "encoder" / "README.md").write_text("not hashed")
    names = sorted(path for path in root.rglob("*") if path.is_file())
    spec["files"] = {
        path.relative_to(root).as_posix(): sha256_file(path)
        for path in names
        if path.name != "README.md"
    }
    write_json(root / "bundle.json", spec)
    return root


def change_spec(root: Path, **changes: object) -> None:
    """Rewrite bundle.json with fields changed, or removed where the change is None."""
    spec = json.loads((root / "bundle.json").read_text())
    spec.update(changes)
    write_json(root / "bundle.json", {k: v for k, v in spec.items() if v is not None})
