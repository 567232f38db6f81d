"""A sheet of images: a row for each kind, a column for each source."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from synood.images.decoding import read_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

IMAGES = 16  # columns
SIDE, GAP, TITLE = 64, 3, 190  # pixels: of an image, between them, of a row's title


def album(rows: Mapping[str, Sequence[Path]]) -> bytes:
    """Return a WebP sheet: each title with its images, evenly spaced through the list.

    All rows have one image of each source, in the same order.
    """
    count = len(next(iter(rows.values())))
    chosen = sorted({number * count // IMAGES for number in range(IMAGES)})
    size = TITLE + len(chosen) * (SIDE + GAP) + GAP, len(rows) * (SIDE + GAP) + GAP
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for line, (title, paths) in enumerate(rows.items()):
        top = GAP + line * (SIDE + GAP)
        pen.text((GAP, top + SIDE // 2 - 6), title, fill="black", font=font)
        for column, place in enumerate(chosen):
            image = read_image(paths[place]).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            sheet.paste(image, (TITLE + column * (SIDE + GAP), top))
    data = io.BytesIO()
    sheet.save(data, "WEBP", quality=60)
    return data.getvalue()
