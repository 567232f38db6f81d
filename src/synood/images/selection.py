"""Which in-distribution images the method redraws: the most complex ones of each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from synood.errors import InputError
from synood.files import readable
from synood.images.reading import image_size

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from synood.images.sources import ImageIndex, ImageRecord


@dataclass(frozen=True)
class Selected:
    """A chosen image and the ratio that it was chosen by."""

    record: ImageRecord
    bytes_per_pixel: float


def bytes_per_pixel(path: Path) -> float:
    """Size of the file over the image's pixels: a compressed picture of much detail has more.

    Paper §3.4; authors' code, cleaned/clean_data.py:15-24. Only the header is read; a file that
    is not an image is an `InputError`.
    """
    width, height = image_size(path)
    try:
        return path.stat().st_size / (width * height)
    except OSError as error:  # gone since its header was read
        raise InputError(f"{readable(path)}: cannot be read ({error.strerror})") from None


def select_complex(
    index: ImageIndex, per_class: int, ratios: Mapping[str, float] | None = None
) -> list[Selected]:
    """Choose the `per_class` images with the most bytes per pixel of each class.

    Classes stand in the index's order, images by descending ratio and equal ratios by id; a class
    that has fewer gives all. The authors' code compares the ratios as text (clean_data.py:38-39);
    here they are numbers. `ratios` are those of the images by id where they are known already.
    Raises `InputError` for images without a label.
    """
    if per_class < 1:
        raise InputError(f"select.per_class is {per_class}; it must be at least 1")
    by_class: dict[str, list[Selected]] = {name: [] for name in index.class_names}
    for record in index.records:
        if record.label not in by_class:
            raise InputError(f"{readable(record.path)}: has no class; selection is per class")
        ratio = bytes_per_pixel(record.path) if ratios is None else ratios[record.id]
        by_class[record.label].append(Selected(record, ratio))
    chosen: list[Selected] = []
    for found in by_class.values():
        ranked = sorted(found, key=lambda item: (-item.bytes_per_pixel, item.record.id))
        chosen.extend(ranked[:per_class])
    return chosen
