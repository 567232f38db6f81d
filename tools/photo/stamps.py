"""The photographic cut-outs among Tux Paint's stamps: for measuring only, never shipped (GPL)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from synood.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

GROUPS = {
    "animals": "animal", "plants": "plant", "food": "plant", "clothes": "thing",
    "household": "thing", "hobbies": "thing", "medical": "thing", "military": "thing",
    "sports": "thing", "vehicles": "thing", "town": "thing",
}  # fmt: skip
DRAWN = {"cartoon", "toys", "plastic", "flags", "roadsigns"}
COLOURS = 700  # a photograph has more; drawings have few


@dataclass(frozen=True)
class Stamp:
    """One cut-out: its file, its group (animal, plant or thing) and its name."""

    path: Path
    group: str
    name: str


def photographs(root: Path) -> list[Stamp]:
    """List the photographs in a folder of stamps, sorted by path.

    The name is what the file is called, without digits: "cow_white.png" is "cow white". Raises
    `InputError` where there are none.
    """
    stamps = []
    for path in sorted(root.rglob("*.png")):
        below = path.relative_to(root).parts
        name = " ".join(re.sub(r"[\d_\-]+", " ", path.stem).lower().split())
        if below[0] in GROUPS and name and not DRAWN & set(below) and _is_photograph(path):
            stamps.append(Stamp(path, GROUPS[below[0]], name))
    if not stamps:
        raise InputError(f"{root}: no stamps there; give the folder of tuxpaint-stamps-default")
    return stamps


def _is_photograph(path: Path) -> bool:
    pixels = np.asarray(Image.open(path).convert("RGBA"))
    opaque = pixels[pixels[..., 3] > 200][:, :3]
    return len(np.unique(opaque, axis=0)) > COLOURS
