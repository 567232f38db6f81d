"""Draws generated images with their prompts below, to look at."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from synood.files import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np

SCALE, COLUMNS, TEXT_HEIGHT, GAP = 2, 8, 40, 6


def contact_sheet(
    sections: Sequence[tuple[str, np.ndarray]], prompts: Sequence[str], path: Path
) -> None:
    """Write a PNG: under each section's title its images, doubled, each over its prompt.

    Args:
        sections: title and uint8 (N, S, S, 3) images, one for each prompt.
        prompts: N texts.
        path: where the PNG goes.
    """
    side = sections[0][1].shape[1] * SCALE
    rows = -(-len(prompts) // COLUMNS)
    height = len(sections) * (20 + rows * (side + TEXT_HEIGHT)) + GAP
    sheet = Image.new("RGB", (COLUMNS * (side + GAP) + GAP, height), "white")
    draw = ImageDraw.Draw(sheet)
    top = 0
    for title, images in sections:
        draw.text((GAP, top + 4), title, "black")
        top += 20
        for index, (image, prompt) in enumerate(zip(images, prompts, strict=True)):
            x = GAP + index % COLUMNS * (side + GAP)
            y = top + index // COLUMNS * (side + TEXT_HEIGHT)
            sheet.paste(
                Image.fromarray(image).resize((side, side), Image.Resampling.NEAREST), (x, y)
            )
            draw.multiline_text(
                (x, y + side + 2), textwrap.fill(prompt, side // 6), "black", spacing=1
            )
        top += rows * (side + TEXT_HEIGHT)
    with replacing(path) as part:
        sheet.save(part, "PNG")
