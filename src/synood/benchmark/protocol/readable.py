"""The readable images of a set with their features; unreadable ones are skipped and listed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from synood.features.extractor import ImageFile
from synood.features.store import FeatureStore
from synood.features.unreadable import Unreadable, check_unreadable, map_or_unreadable
from synood.files import sha256_bytes
from synood.images.decoding import image_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from synood.benchmark.suites.suite import ImageSet
    from synood.detector.ood_detector import OODDetector
    from synood.features.extractor import Feature
    from synood.images.sources import ImageIndex
    from synood.progress import StageProgress

BATCH = 64  # images decoded at a time
MAX_BAD = 0.05


@dataclass(frozen=True, eq=False)
class ReadableSet:
    """The readable images of a set, their features (N, D), and why the others are unreadable."""

    index: ImageIndex
    features: NDArray[np.float32]
    unreadable: tuple[str, ...]


def encode_readable(
    detector: OODDetector,
    item: ImageSet,
    progress: StageProgress,
    cache: Path | None = None,
    max_bad: float = MAX_BAD,
) -> ReadableSet:
    """Encode the images of a set of a suite; see `encode_index`."""
    return encode_index(detector, item.name, item.index(), progress, cache, max_bad)


def encode_index(
    detector: OODDetector,
    name: str,
    index: ImageIndex,
    progress: StageProgress,
    cache: Path | None = None,
    max_bad: float = MAX_BAD,
) -> ReadableSet:
    """Encode images as the detector does; `cache` is a directory for the features.

    More unreadable images than `max_bad` are an `InputError`, which begins with `name`.
    """
    rows = _rows(detector, [record.path for record in index.records], progress, cache)
    reasons = tuple(row.reason for row in rows if isinstance(row, Unreadable))
    check_unreadable(name, reasons, len(rows), max_bad)
    kept = [
        (record, row)
        for record, row in zip(index.records, rows, strict=True)
        if not isinstance(row, Unreadable)
    ]
    return ReadableSet(
        replace(index, records=tuple(record for record, _ in kept)),
        np.stack([row for _, row in kept]),
        reasons,
    )


def _rows(
    detector: OODDetector, paths: Sequence[Path], progress: StageProgress, cache: Path | None
) -> list[Feature | Unreadable]:
    backbone = detector.backbone
    if cache is None:
        extractor = backbone.extractor()
        rows: list[Feature | Unreadable] = []
        for start in range(0, len(paths), BATCH):
            rows += extractor.extract(paths[start : start + BATCH])
            progress(len(rows), len(paths), "")
        return rows
    store = FeatureStore(cache, backbone.fingerprint, backbone.load, device=backbone.chosen_device)
    files = map_or_unreadable(_hashed, paths)
    there = [file for file in files if isinstance(file, ImageFile)]
    encoded = iter(store.images_or_unreadable(there, progress))
    return [file if isinstance(file, Unreadable) else next(encoded) for file in files]


def _hashed(path: Path) -> ImageFile:
    return ImageFile(path, sha256_bytes(image_bytes(path)))
