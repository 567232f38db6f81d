"""What the command line is given - names of files and sets - as the objects that they mean."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synood.detector.ood_detector import OODDetector
from synood.errors import InputError
from synood.images.sources import find_images, folder_per_class, read_class_names
from synood.models.device import pick_device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from synood.benchmark.results.results import Group
    from synood.images.sources import ImageIndex
    from synood.labels.imagenet import Naming
    from synood.models.describer import Describer
    from synood.progress import Progress


def load_detector(path: Path, device: str, models: str | None = None) -> OODDetector:
    """Read a detector directory; `models` is where its bundle lies now."""
    return OODDetector.from_pretrained(path, models, pick_device(device))


def class_names(
    classes: Path | None,
    benchmark: str | None = None,
    root: Path | None = None,
    naming: Naming = "openai",
) -> list[str]:
    """Read class names from a file or take those of a benchmark."""
    if (classes is None) == (benchmark is None):
        raise InputError("class names: give a file (--classes FILE) or a benchmark, one of them")
    if classes is None:
        from synood.benchmark.suites.layouts import class_names_of

        return class_names_of(str(benchmark), root, naming)
    names = read_class_names(classes)
    return list(names.values()) if isinstance(names, dict) else names


def training_images(
    images: Path | None,
    classes: Path | None,
    benchmark: str | None,
    root: Path | None,
    naming: Naming,
) -> ImageIndex:
    """List a folder per class, named as a file says if there is one, or a benchmark's images."""
    if (images is None) == (benchmark is None):
        raise InputError("fit: give a folder of images or a --benchmark, one of them")
    if benchmark is None:
        given = None if classes is None else read_class_names(classes)
        return folder_per_class(Path(str(images)), given)
    if classes is not None:
        raise InputError("fit: --classes goes with a folder; a benchmark names its classes")
    from synood.benchmark.suites.layouts import open_benchmark

    return open_benchmark(benchmark, root, roles=("train",), naming=naming).one("train").index()


def preprocessed(models: str, preset: str | None) -> str:
    """Return a bundle's name with a preprocessing for its encoder."""
    return models if preset is None else f"{models}+encoder.preprocess={preset}"


def describer_of(descriptions: Path | None, part: Path | None = None) -> Describer | None:
    """Read the contexts of a JSONL file, or a describer from the JSON of a bundle's part.

    None leaves describing to the bundle.
    """
    if descriptions is not None and part is not None:
        raise InputError("fit: give --descriptions or --describer, one of them")
    if part is not None:
        from synood.models.parts import describer_from_json

        described: Describer = describer_from_json(part)
        return described
    from synood.models.describer import FileDescriber

    return None if descriptions is None else FileDescriber(descriptions)


def ood_sets(far: Sequence[str], near: Sequence[str]) -> list[tuple[str, ImageIndex, Group]]:
    """List the images of every NAME=PATH; a name given twice or a bad form is an `InputError`."""
    sets: list[tuple[str, ImageIndex, Group]] = []
    groups: tuple[tuple[Group, Sequence[str]], ...] = (("near", near), ("far", far))
    for group, text in [(group, text) for group, texts in groups for text in texts]:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise InputError(f"{text!r}: write a set of images as NAME=PATH")
        if name in {known for known, _, _ in sets}:
            raise InputError(f"{text!r}: there is another set of images named {name!r}")
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
