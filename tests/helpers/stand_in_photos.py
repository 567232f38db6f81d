"""Small pictures and files under the names that README and docs use, so that their commands run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

import synood.mini
from synood.files import sha256_file, write_json
from synood.mini.artwork import Artwork
from synood.mini.world import World
from synood.models.bundles import EMBEDDED

CLASSES = ("banana", "pineapple", "strawberry")
OTHERS = ("guitar", "teapot", "bicycle")
SIBLINGS = ("carrot", "eggplant", "grapes")
PER_CLASS = 20
WORDS = 300  # candidates for negative labels of the stand-in bundle; `photo` has 12,000


def make_photos(root: Path, per_class: int = PER_CLASS, seed: int = 0) -> None:
    """Write the folders of images that the pages name: those to learn from, others of them, OOD."""
    world = World(Artwork.load(Path(synood.mini.__file__).parent / "data" / "artwork.zip"))
    rng = np.random.default_rng(seed)

    def draw(place: str, subject: str, count: int) -> None:
        folder = root / place
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, count + 1):
            name = f"{subject.replace(' ', '-')}-{number}.jpg"
            Image.fromarray(world.scene(subject, rng, 96).image).save(folder / name)

    for name in CLASSES:
        draw(f"photos/{name}", name, per_class)
        draw(f"held-out/{name}", name, 7)
        for place in ("calibration", "new-shop", "monday", "ordinary-week", "incoming"):
            draw(place, name, 7)
        draw("new-photos", name, 1)
        draw("archive/2026", name, 1)
    for name in OTHERS:
        draw(f"dtd/{name}", name, 3)
        draw("other-things", name, 2)
    for name in SIBLINGS:
        draw("other", name, 3)
    for place in ("new-photos/odd.jpg", "photo.jpg", "new.jpg", "other.jpg"):
        Image.fromarray(world.scene(OTHERS[0], rng, 96).image).save(root / place)
    (root / "list.txt").write_text("photo.jpg\nnew.jpg\n")
    (root / "names.txt").write_text("cat\ndog\nhorse\n")
    scored = sorted(path for place in ("held-out", "dtd") for path in (root / place).rglob("*.jpg"))
    rows = [f"{path.relative_to(root).as_posix()},{row % 7}\n" for row, path in enumerate(scored)]
    (root / "scores.csv").write_text("path,score\n" + "".join(rows))


def make_bundle(place: Path) -> Path:
    """Copy the bundle `photo` with few words and short tuning, which takes most of a `fit`."""
    shutil.copytree(EMBEDDED["photo"], place)
    words = (EMBEDDED["mini"] / "words.txt").read_text("utf-8").splitlines(keepends=True)
    (place / "words.txt").write_text("".join(words[:: len(words) // WORDS]), "utf-8")
    spec = json.loads((place / "bundle.json").read_text("utf-8"))
    spec["words"] = "words.txt"
    spec["files"]["words.txt"] = sha256_file(place / "words.txt")
    for part in ("projection", "negatives"):
        spec["recipe"][part]["min_steps"] = 10
    write_json(place / "bundle.json", spec)
    return place


def make_features(root: Path) -> dict[str, object]:
    """Write files of features of a model that synood does not know; return them by name, too."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    features = np.eye(2, 16)[labels] + 0.2 * rng.normal(size=(80, 16))
    new = rng.normal(size=(5, 16))
    names = json.dumps(["cat", "dog"])
    rows = {"features": features.astype(np.float32), "labels": labels}
    save_file(rows, root / "train.safetensors", {"class_names": names})
    save_file({"features": new.astype(np.float32)}, root / "new.safetensors")
    save_file({"features": rows["features"][::2]}, root / "held-out.safetensors")
    return {"features": features, "labels": labels, "new": new}
