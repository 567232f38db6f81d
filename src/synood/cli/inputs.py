"""What commands are given - names of files, sets and benchmarks - as the objects they stand for."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synood.detector.ood_detector import OODDetector
from synood.errors import InputError
from synood.images.sources import find_images, read_class_names
from synood.models.device import pick_device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from synood.benchmark.results.results import OodGroup
    from synood.cli.options import BenchmarkOptions
    from synood.images.sources import ImageIndex
    from synood.models.bundles import Bundle
    from synood.progress import Progress
    from synood.settings import MiningSettings


def load_detector(path: Path, device: str, models: str | None = None) -> OODDetector:
    """Read a detector directory; `models` is where its bundle lies now."""
    return OODDetector.from_pretrained(path, models, pick_device(device))


def class_names(classes: Path | None, data: BenchmarkOptions) -> list[str]:
    """Read class names from a file or take those of a benchmark."""
    if (classes is None) == (data.benchmark is None):
        raise InputError("class names: give either a file (--classes FILE) or --benchmark")
    if classes is None:
        from synood.benchmark.suites.layouts import class_names_of

        return class_names_of(str(data.benchmark), data.root, data.names)
    names = read_class_names(classes)
    return list(names.values()) if isinstance(names, dict) else names


def preprocessed(models: str, preset: str | None) -> str:
    """Return a bundle's name with a preprocessing for its encoder."""
    return models if preset is None else f"{models}+encoder.preprocess={preset}"


def mining_of(bundle: Bundle, share: float | None, assignments: Sequence[str]) -> MiningSettings:
    """Return the mining settings of recipe `paper` for a bundle, with changes."""
    from synood.pipeline.recipe import resolve_recipe

    short = () if share is None else (f"mining.share={share}",)
    return resolve_recipe("paper", bundle.recipe_defaults, (*assignments, *short)).mining


def ood_sets(far: Sequence[str], near: Sequence[str]) -> list[tuple[str, ImageIndex, OodGroup]]:
    """List the images of every NAME=PATH; a bad form or a name given twice is an `InputError`."""
    sets: list[tuple[str, ImageIndex, OodGroup]] = []
    groups: tuple[tuple[OodGroup, Sequence[str]], ...] = (("near", near), ("far", far))
    for group, text in [(group, text) for group, texts in groups for text in texts]:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise InputError(f"{text!r}: write a set of images as NAME=PATH")
        if name in {known for known, _, _ in sets}:
            raise InputError(f"{text!r}: another set of images is named {name!r} already")
        sets.append((name, find_images([Path(path)]), group))
    if not sets:
        raise InputError("evaluate: give at least one set of images as --ood NAME=PATH")
    return sets


def scores_of(
    detector: OODDetector, index: ImageIndex, name: str, progress: Progress
) -> NDArray[np.float32]:
    """Score every image of an index, (N,) in its order; all of them must be readable."""
    from synood.pipeline.executors.local import LocalExecutor
    from synood.pipeline.scoring import predict_index

    found = predict_index(detector, index, LocalExecutor(), partial(progress, name))
    for prediction in found:
        if prediction.error:
            raise InputError(prediction.error)
    return np.array([prediction.score for prediction in found], np.float32)
