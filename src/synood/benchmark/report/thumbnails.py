"""Small images for pages: a selection of many, and their encoding."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

from synood.images.decoding import read_image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import TypeVar

    T = TypeVar("T")

LARGEST = 128  # pixels a side of an embedded image
QUALITY = 85  # of WebP; a 64 px scene then has about 2 KB, a quarter of its PNG


def evenly(items: Sequence[T], count: int) -> list[T]:
    """Return at most `count` items, each from the middle of an equal part of the sequence.

    >>> evenly(range(10), 2)
    [2, 7]
    """
    taken = min(count, len(items))
    return [items[(2 * i + 1) * len(items) // (2 * taken)] for i in range(taken)]


def thumbnail(path: Path) -> bytes:
    """Return an image as WebP bytes, of at most `LARGEST` pixels a side."""
    image = read_image(path)
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=6)
    return file.getvalue()
