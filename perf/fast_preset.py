"""Preset "fast" beside exact decoding: its time at several sizes, and its drift on photographs.

python perf/fast_preset.py FOLDER [FOLDER ...]: folders of JPEGs; those that "fast" reduces are
compared, bundle photo. Times are of the first of them, saved anew at each size.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from side_by_side import compare

from synood import OODDetector
from synood.errors import InputError
from synood.images.decoding import decode, read_image
from synood.images.sources import find_images
from synood.models.bundles import load_bundle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synood.images.presets import Preprocess
    from synood.images.reading import Reading

SIZES = ((500, 375), (1024, 768), (2048, 1536), (4000, 3000))
CLASSES = ["bird", "dog", "cat", "car", "flower", "building", "person", "food"]


def reduced(folders: list[Path], reading: Reading) -> tuple[list[Path], int]:
    """Return the photographs that are decoded at a reduced size, and how many there are in all."""
    chosen, readable = [], 0
    for record in find_images(folders).records:
        try:
            read_image(record.path)
        except InputError:
            continue
        readable += 1
        with Image.open(record.path) as image:
            if reading.reduces(image.format, image.size):
                chosen.append(record.path)
    return chosen, readable


def time_size(image: Image.Image, size: tuple[int, int], steps: Preprocess, runs: int) -> None:
    """Time decoding and resizing at one size."""
    file, path = io.BytesIO(), Path("photograph.jpg")
    image.resize(size, Image.Resampling.LANCZOS).save(file, "JPEG", quality=90)
    data = file.getvalue()
    compare(
        f"{size[0]} x {size[1]}, decoded and resized to {steps.resize}",
        lambda: steps.shrunk(decode(data, path, reading=steps.reading)),
        {"exact": lambda: steps.shrunk(decode(data, path))},
        runs,
    )


def print_drift(chosen: list[Path]) -> None:
    """Compare features, scores and verdicts of the photographs."""
    exact = OODDetector.from_classes(CLASSES)
    fast = OODDetector.from_classes(CLASSES, "photo+encoder.preprocess=fast")
    ours, theirs = fast.embed(chosen), exact.embed(chosen)
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosines = (ours * theirs).sum(axis=1) / lengths
    new, old = fast.score_features(ours), exact.score_features(theirs)
    apart = np.abs(new - old)
    print_spread("1 - cosine of the features", 1 - cosines)
    print_spread(f"difference of the scores, whose deviation is {old.std():.2f}", apart)
    for kept in (0.95, 0.5):
        threshold = np.quantile(old, 1 - kept)
        changed = int(((old < threshold) != (new < threshold)).sum())
        print(f"at a threshold that keeps {kept:.0%}, {changed} of {len(chosen)} verdicts change")


def print_spread(what: str, values: NDArray[np.float32]) -> None:
    """Print the middle and the end of some values."""
    middle, high = np.quantile(values, (0.5, 0.95))
    print(f"{what}: median {middle:.5f}, 95 % {high:.5f}, most {values.max():.5f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--runs", type=int, default=7)
    given = parser.parse_args()
    steps = load_bundle("photo+encoder.preprocess=fast").encoder().preprocess
    least = 2 * steps.reading.side
    chosen, readable = reduced(given.folders, steps.reading)
    print(f"{len(chosen)} of {readable} photographs are reduced: those of {least} pixels or more")
    if chosen:
        for size in SIZES:
            time_size(read_image(chosen[0]), size, steps, given.runs)
        print_drift(chosen)


if __name__ == "__main__":
    main()
