"""Draws the artwork of the mini world from npm packages and packs it into one zip.

    python -m tools.mini.artwork NODE_MODULES OUT.zip [--shipped SMALL.zip]

Needs resvg-py (the extra `tools`). `synood.mini.artwork` reads what this writes.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from synood.files import replacing
from synood.mini.artwork import Artwork, Sprite
from synood.mini.concepts import HELD_OUT_VENDOR, VENDORS, part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

log = logging.getLogger(__name__)
SPRITE_SIZE = 96  # longest side in the pack that models train on
SHIPPED_SIZE = 64  # and in the pack that ships: scenes are 64 px
SHIPPED_QUALITY = 75  # of WebP; 7 MB in place of 8
FEW_VENDORS = {
    "faces": ("noto", "fluent-emoji-3d", HELD_OUT_VENDOR),
    "symbols": ("noto", "fluent-emoji-3d", HELD_OUT_VENDOR),
    "validation-far": ("noto", "fluent-emoji-3d"),
}
GROUPS = frozenset({
    "animals-nature", "food-drink", "travel-places", "objects", "activities",
    "smileys-emotion", "symbols",
})  # fmt: skip


def _draw(svg: str) -> Image.Image:
    import resvg_py

    data = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=128, height=128))
    return Image.open(io.BytesIO(data)).convert("RGBA")


def cropped(image: Image.Image) -> Image.Image | None:
    """Crop to the ink and shrink to the largest size kept; None where there is no ink."""
    box = image.getchannel("A").point(lambda value: 255 * (value > 8)).getbbox()
    if box is None or min(box[2] - box[0], box[3] - box[1]) < 4:
        return None
    image = image.crop(box)
    image.thumbnail((SPRITE_SIZE, SPRITE_SIZE), Image.Resampling.LANCZOS)
    return image


class IconPackage:
    """One npm package of SVG icons, found by code point or by the spelling of the name."""

    def __init__(self, folder: Path) -> None:
        data = json.loads((folder / "icons.json").read_text(encoding="utf-8"))
        self.size = data.get("width", 16)
        self.icons = data["icons"]
        chars = json.loads((folder / "chars.json").read_text(encoding="utf-8"))
        self.by_code = {code.replace("-fe0f", ""): name for code, name in chars.items()}
        self.by_spelling = {_squash(name): name for name in sorted(self.icons)}

    def find(self, code: str, concept: str) -> Image.Image | None:
        """Return the drawing of a concept, or None where the package lacks it."""
        name = self.by_code.get(code)
        for spelling in (concept, f"{concept} face"):
            name = name or self.by_spelling.get(_squash(spelling))
        icon = self.icons.get(name) if name else None
        if icon is None:
            return None
        width, height = icon.get("width", self.size), icon.get("height", self.size)
        return _draw(
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{icon.get("left", 0)} {icon.get("top", 0)} {width} {height}">'
            f"{icon['body']}</svg>"
        )


def _squash(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def named_concepts(modules: Path) -> list[tuple[str, str, str]]:
    """Return (code point, concept, subgroup) of the standard's images, in its order."""
    folder = modules / "emojibase-data"
    names = json.loads((folder / "meta/groups.json").read_text(encoding="utf-8"))
    rows = json.loads((folder / "en/data.json").read_text(encoding="utf-8"))
    rows = [row for row in rows if names["groups"].get(str(row.get("group"))) in GROUPS]
    seen: set[str] = set()
    result = []
    for row in sorted(rows, key=lambda row: row["order"]):
        if row["label"] in seen:
            continue
        seen.add(row["label"])
        code = row["hexcode"].lower().replace("-fe0f", "")
        result.append((code, row["label"], names["subgroups"][str(row["subgroup"])]))
    return result


def draw_all(modules: Path) -> Iterator[Sprite]:
    """Draw every concept by every vendor from an npm `node_modules` folder."""
    icons = {
        v: IconPackage(modules / "@iconify-json" / v) for v in VENDORS if v != "fluent-emoji-3d"
    }
    folder = modules / "@lobehub/fluent-emoji-3d/assets"
    solid = {file.stem.replace("-fe0f", ""): file for file in sorted(folder.glob("*.webp"))}
    for code, concept, subgroup in named_concepts(modules):
        for vendor in VENDORS:
            if vendor != "fluent-emoji-3d":
                image = icons[vendor].find(code, concept)
            else:
                image = Image.open(solid[code]).convert("RGBA") if code in solid else None
            image = cropped(image) if image is not None else None
            if image is not None:
                yield Sprite(concept, part(concept, subgroup), subgroup, vendor, image)


def write_pack(sprites: Iterable[Sprite], out: Path, quality: int = 80) -> int:
    """Write a pack; returns the number of drawings.

    The zip carries no dates, so the same drawings give the same bytes.
    """
    index: list[dict[str, str]] = []
    with replacing(out) as temporary, zipfile.ZipFile(temporary, "w") as pack:
        for sprite in sprites:
            file = f"{sprite.vendor}/{len(index):05d}.webp"
            buffer = io.BytesIO()
            sprite.image.save(buffer, "WEBP", quality=quality, alpha_quality=90, method=6)
            pack.writestr(zipfile.ZipInfo(file), buffer.getvalue())
            index.append({
                "concept": sprite.concept, "part": sprite.part, "subgroup": sprite.subgroup,
                "vendor": sprite.vendor, "file": file,
            })  # fmt: skip
        pack.writestr(zipfile.ZipInfo("index.json"), json.dumps(index, ensure_ascii=False))
    return len(index)


def benchmark_sprites(artwork: Artwork) -> Iterator[Sprite]:
    """Yield what the benchmark's scenes need, at their size: the pack that ships.

    Parts that only far sets draw from keep two vendors' drawings, and the held-out vendor's.
    """
    for sprite in artwork.sprites:
        wanted = sprite.part not in FEW_VENDORS or sprite.vendor in FEW_VENDORS[sprite.part]
        if sprite.part != "none" and wanted:
            image = sprite.image.copy()
            image.thumbnail((SHIPPED_SIZE, SHIPPED_SIZE), Image.Resampling.LANCZOS)
            yield replace(sprite, image=image)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command: python -m tools.mini.artwork NODE_MODULES OUT.zip [--shipped SMALL.zip]."""
    parser = argparse.ArgumentParser(description="Draw the mini world's artwork into one zip.")
    parser.add_argument("node_modules", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--shipped", type=Path, help="also write the pack that ships")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    count = write_pack(draw_all(options.node_modules), options.out)
    log.info("%s: %d drawings", options.out, count)
    if options.shipped:
        count = write_pack(
            benchmark_sprites(Artwork.load(options.out)), options.shipped, SHIPPED_QUALITY
        )
        log.info("%s: %d drawings", options.shipped, count)


if __name__ == "__main__":
    main()
