"""The mini benchmark's images: folders of PNG files composed from seeds of their own.

    suite.json
    train/CLASS/0000.png ...            in-distribution images to tune on
    validation/id/CLASS/...             for every choice: threshold, fraction of labels, early stop
    validation/ood/{near,far}/...       other concepts than any test set's
    test/id/CLASS/...
    test/near/{near-natural,near-made}/...
    test/far/{faces,symbols,empty-scenes,fashion-photographs,photographs-without-subject}/...

In the crowded split every image is crowded, training images too, as ImageNet's are.

Each set draws from its own stream of random numbers, so no two sets share a scene; the parts of
`concepts.part` keep their concepts apart.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from synood.errors import InputError
from synood.files import write_bytes, write_json
from synood.mini.artwork import Artwork
from synood.mini.concepts import HELD_OUT_VENDOR, spoken
from synood.mini.crowd import CrowdedWorld
from synood.mini.world import SIZE, World

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
ARTWORK = HERE / "data" / "artwork.zip"
PHOTOGRAPHS = HERE / "data" / "photographs.zip"
SCHEMA = 1
Split = Literal["main", "hard", "crowded"]
_STREAMS = {"main": 0, "hard": 1, "crowded": 2}  # of random numbers, one a split
Role = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Counts:
    """Number of images in each kind of set."""

    train: int = 20  # of each class
    validation: int = 6  # of each class
    test: int = 10  # of each class
    ood: int = 400  # of each OOD set
    validation_ood: int = 300


@dataclass(frozen=True)
class SetEntry:
    """One row of suite.json."""

    name: str
    group: Literal["id", "near", "far"]
    role: Role
    path: str
    n: int


class SuiteWriter:
    """Writes the sets of one seed and split below a folder."""

    def __init__(self, root: Path, seed: int, split: Split, counts: Counts) -> None:
        if split not in _STREAMS:
            raise InputError(f"split {split!r} is unknown: main, hard or crowded")
        self.root, self.seed, self.split, self.counts = root, seed, split, counts
        artwork = Artwork.load(ARTWORK)
        self.seen = CrowdedWorld(artwork) if split == "crowded" else World(artwork)
        self.test = World(artwork, (HELD_OUT_VENDOR,)) if split == "hard" else self.seen
        self.sets: list[SetEntry] = []

    def rng(self, stream: int) -> np.random.Generator:
        """Return the generator of one set; training of the models uses other streams."""
        return np.random.default_rng((20_261, self.seed, _STREAMS[self.split], stream))

    def write(self) -> None:
        """Write all sets and, last, suite.json."""
        self.write_seen()
        counts = self.counts
        self._classes("test", "test/id", self.test, counts.test, 10)
        self._subjects("near-natural", "near", "test", self.test, "near-natural", counts.ood, 11)
        self._subjects("near-made", "near", "test", self.test, "near-made", counts.ood, 12)
        self._subjects("faces", "far", "test", self.test, "faces", counts.ood, 13)
        self._subjects("symbols", "far", "test", self.test, "symbols", counts.ood, 14)
        self._drawn("empty-scenes", counts.ood, 15, self.test.empty)
        self._photographs("fashion-photographs", 16)
        self._photographs("photographs-without-subject", 17)
        write_json(self.root / "suite.json", {
            "schema": SCHEMA, "name": "mini", "seed": self.seed, "split": self.split,
            "sets": [asdict(entry) for entry in self.sets],
        })  # fmt: skip

    def write_seen(self) -> None:
        """Write the training and validation sets, of drawings that the models have seen."""
        counts = self.counts
        self._classes("train", "train", self.seen, counts.train, 0)
        self._classes("validation", "validation/id", self.seen, counts.validation, 1)
        for stream, (name, part) in enumerate(
            [("validation-near", "validation-near"), ("validation-far", "validation-far")], start=2
        ):
            group: Literal["near", "far"] = "near" if stream == 2 else "far"
            self._subjects(
                name, group, "validation", self.seen, part, counts.validation_ood, stream
            )

    def _classes(self, role: Role, path: str, world: World, each: int, stream: int) -> None:
        rng = self.rng(stream)
        for concept in world.classes:
            for number in range(each):
                scene = world.scene(concept, rng)
                self._save(f"{path}/{spoken(concept)}/{number:04d}.png", scene.image)
        total = each * len(world.classes)
        self.sets.append(SetEntry(f"{role}-id" if role != "train" else "train", "id", role, path,
                                  total))  # fmt: skip

    def _subjects(
        self, name: str, group: Literal["near", "far"], role: Role, world: World, part: str,
        count: int, stream: int,
    ) -> None:  # fmt: skip
        concepts = world.artwork.concepts(part, vendors=world.vendors)

        def draw(rng: np.random.Generator) -> np.ndarray:
            return world.scene(concepts[rng.integers(len(concepts))], rng).image

        self._drawn(name, count, stream, draw, group, role)

    def _drawn(
        self,
        name: str,
        count: int,
        stream: int,
        draw: Callable[[np.random.Generator], np.ndarray],
        group: Literal["near", "far"] = "far",
        role: Role = "test",
    ) -> None:
        rng = self.rng(stream)
        folder = f"validation/ood/{name}" if role == "validation" else f"test/{group}/{name}"
        for number in range(count):
            self._save(f"{folder}/{number:04d}.png", draw(rng))
        self.sets.append(SetEntry(name, group, role, folder, count))

    def _photographs(self, name: str, stream: int) -> None:
        pictures = photographs(name)
        rng = self.rng(stream)

        def draw(rng: np.random.Generator) -> np.ndarray:
            picture = pictures[rng.integers(len(pictures))]
            if max(picture.size) > SIZE:  # a texture: any crop of it will do
                side = int(rng.uniform(0.3, 1.0) * min(picture.size))
                x, y = (int(rng.integers(length - side + 1)) for length in picture.size)
                picture = picture.crop((x, y, x + side, y + side))
            return self.test.texture(picture.convert("RGB").resize((SIZE, SIZE)), rng)

        if max(pictures[0].size) <= SIZE:  # single photographs: each at most once
            chosen = rng.permutation(len(pictures))[: self.counts.ood]
            one = iter([pictures[i] for i in chosen])
            self._drawn(name, len(chosen), stream, lambda rng: self.test.single(next(one), rng))
        else:
            self._drawn(name, self.counts.ood, stream, draw)

    def _save(self, path: str, image: np.ndarray) -> None:
        import io

        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG", compress_level=4)
        write_bytes(self.root / path, buffer.getvalue())


def photographs(name: str) -> list[Image.Image]:
    """Return the shipped photographs of a set, in the order of their names."""
    import io
    import zipfile

    with zipfile.ZipFile(PHOTOGRAPHS) as pack:
        index = json.loads(pack.read("index.json"))
        return [Image.open(io.BytesIO(pack.read(file))) for file in index[name]]


def write_suite(
    root: Path, seed: int = 0, split: Split = "main", counts: Counts | None = None
) -> None:
    """Write the mini benchmark below `root`.

    Args:
        root: folder to write to; files of the same names are replaced.
        seed: random seed of all scenes.
        split: `main` draws the test scenes from artwork that the models have seen in other
            scenes, `hard` from a vendor that no model has seen; all scenes of `crowded`, training
            and validation too, are crowded (`synood.mini.crowd`), from artwork as in `main`.
        counts: how many images; the defaults make about 5,000.
    """
    SuiteWriter(root, seed, split, counts or Counts()).write()
