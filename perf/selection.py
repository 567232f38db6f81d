"""Bytes per pixel of many photographs: python perf/selection.py.

Compared with opening each image with Pillow for its size, as cleaned/clean_data.py:15-24 of the
authors' code does. All files are in the page cache: only the CPU time is compared.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from side_by_side import compare

from synood.images.selection import measure_ratios
from synood.images.sources import ImageIndex, folder_per_class

IMAGES = 4000


def write_images(root: Path) -> ImageIndex:
    """JPEGs of 100 to 500 pixels a side in 20 folders."""
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        folder = root / f"{number % 20:02}"
        folder.mkdir(exist_ok=True)
        size = tuple(int(side) for side in rng.integers(100, 500, 2))
        Image.new("RGB", size, (number % 256, 90, 30)).save(folder / f"{number:05}.jpg")
    return folder_per_class(root)


def with_pillow(index: ImageIndex) -> np.ndarray:
    ratios = []
    for record in index.records:
        with Image.open(record.path) as image:
            width, height = image.size
        ratios.append(record.path.stat().st_size / (width * height))
    return np.array(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        index = write_images(Path(folder))
        assert np.array_equal(measure_ratios(index).values, with_pillow(index))
        compare(
            f"bytes per pixel of {IMAGES:,} JPEGs",
            lambda: measure_ratios(index),
            {"Pillow, one by one": lambda: with_pillow(index)},
            runs,
        )


if __name__ == "__main__":
    main()
