"""The artwork of the mini world: drawings of named concepts by several vendors, in one zip.

`Artwork.load` reads a pack with nothing but Pillow; `tools.mini.artwork` makes one.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from PIL import Image

from synood.errors import InputError
from synood.mini.concepts import VENDORS

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Sprite:
    """One vendor's drawing of one concept: RGBA, at most 96 px a side, cropped to its ink."""

    concept: str
    part: str
    subgroup: str
    vendor: str
    image: Image.Image


class Artwork:
    """All drawings, by part, concept and vendor."""

    def __init__(self, sprites: list[Sprite]) -> None:
        self.sprites = sprites

    @classmethod
    def load(cls, path: Path) -> Artwork:
        """Read a pack; a missing one is an `InputError`."""
        if not path.is_file():
            raise InputError(f"{path}: no artwork pack; python -m tools.mini.artwork makes one")
        with zipfile.ZipFile(path) as pack:
            rows = json.loads(pack.read("index.json"))
            return cls(
                [
                    Sprite(row["concept"], row["part"], row["subgroup"], row["vendor"], image)
                    for row in rows
                    for image in [Image.open(io.BytesIO(pack.read(row["file"]))).convert("RGBA")]
                ]
            )

    @cached_property
    def _by_concept(self) -> dict[str, dict[str, Image.Image]]:
        table: dict[str, dict[str, Image.Image]] = {}
        for sprite in self.sprites:
            table.setdefault(sprite.concept, {})[sprite.vendor] = sprite.image
        return table

    def drawings(self, concept: str, vendors: tuple[str, ...]) -> list[Image.Image]:
        """Return the drawings of `concept` by those of `vendors` that have one, in their order."""
        found = self._by_concept[concept]
        return [found[vendor] for vendor in vendors if vendor in found]

    def concepts(self, *parts: str, vendors: tuple[str, ...] = VENDORS) -> list[str]:
        """Return, sorted, the concepts of these parts that one of `vendors` has drawn."""
        return sorted({
            s.concept for s in self.sprites if s.part in parts and s.vendor in vendors
        })  # fmt: skip
