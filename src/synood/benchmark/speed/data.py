"""What the rows of `synood bench` share: data that they make themselves, models, and the row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from synood.benchmark.speed.timing import Timed

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from synood.detector import OODDetector
    from synood.models.dual import DualEncoder

IMAGES = 32


def photographs(folder: Path, count: int = IMAGES) -> list[Path]:
    """Write JPEGs of 500 x 375 pixels with the detail of photographs; return their paths."""
    rng, paths = np.random.default_rng(0), []
    for number in range(count):
        rough = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
        path = folder / f"{number:04}.jpg"
        rough.resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)
        paths.append(path)
    return paths


def unit(rows: int) -> NDArray[np.float32]:
    """Draw features (rows, 512) of unit length, the same in every call."""
    features = np.random.default_rng(rows).normal(size=(rows, 512)).astype(np.float32)
    unit: NDArray[np.float32] = features / np.linalg.norm(features, axis=1, keepdims=True)
    return unit


def text_detector() -> OODDetector:
    """Return a detector of two class names, on the embedded bundle `photo`."""
    from synood.detector import OODDetector

    return OODDetector.from_classes(["cat", "dog"], negatives=["lamp", "bridge"], device="cpu")


def photo_encoder() -> DualEncoder:
    """Return the encoder of the embedded bundle `photo`."""
    from synood.models.bundles import load_bundle
    from synood.models.dual import DualEncoder

    encoder = load_bundle("photo").encoder()
    assert isinstance(encoder, DualEncoder)
    return encoder


def row_of(row: str, what: str, found: dict[str, float], missing: tuple[str, ...] = ()) -> Timed:
    """Return a row from what `compare` found, in which ours is called "ours"."""
    peers = {name: time for name, time in found.items() if name != "ours"}
    return Timed(row, what, found["ours"], peers, missing)
