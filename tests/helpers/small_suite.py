"""A suite of a few 32 px pictures in the layout of the mini world, and a tiny bundle to run it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tiny import tiny_clip, tiny_inpainting, tiny_resnet

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = {"cat": (200, 40, 40), "dog": (40, 200, 40), "tea pot": (40, 40, 200)}
OOD = {
    ("validation", "near", "validation-near"): "validation/ood/validation-near",
    ("validation", "far", "validation-far"): "validation/ood/validation-far",
    ("test", "near", "near-made"): "test/near/near-made",
    ("test", "far", "symbols"): "test/far/symbols",
    ("test", "far", "faces"): "test/far/faces",
}
EACH = {"train": 4, "validation": 8, "test": 6}
WORDS = ("tree", "key", "lamp", "bench", "cloud", "stone", "river", "book", "nice\tadjective")


def write_small_suite(root: Path, seed: int = 0, split: str = "main") -> None:
    """Coloured noise: classes lean to a colour each, OOD sets to grey, every picture distinct."""
    rng = np.random.default_rng([seed, split == "hard"])
    sets = []
    for role, each in EACH.items():
        path = "train" if role == "train" else f"{role}/id"
        for name, colour in CLASSES.items():
            save_noise(root / path / name.replace(" ", "_"), colour, each, rng)
        sets.append(entry(f"{role}-id", "id", role, path, each * len(CLASSES)))
    for (role, group, name), path in OOD.items():
        save_noise(root / path, (128, 128, 128), 10, rng)
        sets.append(entry(name, group, role, path, 10))
    suite = {"schema": 1, "name": "mini", "seed": seed, "split": split, "sets": sets}
    (root / "suite.json").write_text(json.dumps(suite))


def entry(name, group, role, path, n):
    return {"name": name, "group": group, "role": role, "path": path, "n": n}


def save_noise(folder, colour, count, rng, size=32):
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.clip(rng.normal(colour, 60, (size, size, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04d}.png")


def tiny_bundle(root: Path, classes=tuple(CLASSES), recipe=None, paints=True) -> Path:
    """A bundle of random weights that knows `classes`, without hashes."""
    tiny_clip(root / "encoder")
    if paints:
        tiny_inpainting(root / "inpainter")
    tiny_resnet(root / "classifier", classes)
    (root / "vocabulary.txt").write_text("tree\nkey\nlamp\nbench\n")
    (root / "words.txt").write_text("\n".join(WORDS) + "\n")
    spec = {
        "schema": 1,
        "name": "tiny",
        "encoder": {"type": "clip", "path": "encoder"},
        **({"inpainter": {"path": "inpainter"}} if paints else {}),
        "classifier": {"type": "transformers", "path": "classifier"},
        "describer": {"type": "tagger", "vocabulary": "vocabulary.txt"},
        "words": "words.txt",
        "recipe": {
            "select.per_class": 2,
            "guidance.num_inference_steps": 4,
            "guidance.rounds": 2,
            "guidance.target": 5.0,
            "guidance.step_size": 1000.0,
            "describe.template": "only {}",
            **(recipe or {}),
        },
    }
    (root / "bundle.json").write_text(json.dumps(spec))
    return root
