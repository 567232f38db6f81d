"""`synood fit`: a detector from a folder of images per class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from synood.cli.console import deliver, detector_text, reporter, tell, warn
from synood.cli.options import (
    LOCAL,
    OWN_DATA,
    BatchSize,
    BenchmarkOptions,
    DescriberOptions,
    Device,
    ExecutorOptions,
    MaxBad,
    Models,
    Overwrite,
    Preprocess,
    RecipeOptions,
)
from synood.errors import InputError
from synood.files import readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.images.sources import ImageIndex
    from synood.models.describer import Describer

SHOWN = 5  # class names to list before the run begins


def fit(
    images: Path | None = None,
    /,
    *,
    out: Path,
    overwrite: Overwrite = False,
    features: Path | None = None,
    classes: Path | None = None,
    data: BenchmarkOptions = OWN_DATA,
    models: Models = "photo",
    preprocess: Preprocess = None,
    chosen: RecipeOptions = RecipeOptions(),  # noqa: B008 - frozen
    contexts: DescriberOptions = DescriberOptions(),  # noqa: B008 - frozen
    negatives: str | None = None,
    device: Device = "auto",
    batch_size: BatchSize = 8,
    max_bad: MaxBad = 0.05,
    mirror: str | None = None,
    track: str | None = None,
    executor: ExecutorOptions = LOCAL,
) -> None:
    """Make a detector from a folder of images per class.

    An interrupted run resumes when the same command is run again.

    Parameters
    ----------
    images
        Folder that holds one folder of images per class.
    out
        Directory of the run; the detector is written to its folder "detector".
    features
        Safetensors file of features computed elsewhere, in place of images: tensors "features" \
(N, D) and "labels" (N,), "class_names" in its metadata or in a JSON file beside it; with \
"text_features" and "negative_features" the text counts too.
    classes
        JSON file of class names: {"folder": "name"}, or a list in the order of the folders.
    negatives
        Negative labels to use: a text file, one per line, "neglabel-imagenet" or \
"negrefine-imagenet"; mined otherwise.
    batch_size
        Images to synthesize at a time; "auto" finds the largest number that fits in memory.
    mirror
        URL to mirror --out to, e.g. s3://bucket/run; an empty --out is restored from it.
    track
        Run tracker to send progress, losses and results to: trackio, wandb or another module with \
init, log and finish.
    """
    from synood.cli.inputs import preprocessed, warn_of_encoder, with_warnings
    from synood.images.checks import check_outside, unclassed_warnings
    from synood.models.bundles import load_bundle
    from synood.pipeline.overruled import overruled, overruled_by_labels
    from synood.pipeline.recipe import resolve_recipe
    from synood.pipeline.run import fit as run_fit
    from synood.pipeline.stages.shuffle import without_inpainter

    if features is not None:
        if images is not None or data.benchmark is not None:
            raise InputError("fit: give either images or --features")
        if track is not None:
            raise InputError("fit: --track follows a run; --features makes a detector at once")
        fit_features(features, out, overwrite=overwrite, seed=chosen.seed)
        return
    if images is not None:
        check_outside(images, out)
    index = training_images(images, classes, data)
    bundle = load_bundle(preprocessed(models, preprocess))
    assignments = with_warnings(chosen.assignments)
    recipe = resolve_recipe(chosen.recipe, bundle.recipe_defaults, assignments)
    followed, _ = without_inpainter(recipe, bundle)
    remarks = overruled(followed, assignments, _class_sizes(index))
    remarks += overruled_by_labels(assignments) if negatives else []
    if images is not None:
        remarks = [*unclassed_warnings(images), *remarks]
    _tell_inputs(index, remarks)
    if data.benchmark is None:
        warn_of_encoder(bundle, index.class_names, index)
    with executor.opened() as workers, reporter() as progress:
        detector = run_fit(
            index,
            bundle,
            recipe,
            out,
            chosen.seed,
            progress,
            device=device,
            batch_size=batch_size,
            max_bad=max_bad,
            describer=_describer(contexts),
            negatives=negatives,
            executor=workers,
            mirror=mirror,
            overwrite=overwrite,
            tracker=track,
        )
    deliver(detector_text(detector))
    made, place = out / "detector", f" --root {data.root}" if data.root else ""
    then = f"evaluate {made} --benchmark {data.benchmark}{place}"
    deliver(f"detector: {made}\nnext: synood {then if data.benchmark else f'score {made} IMAGE'}\n")


def fit_features(file: Path, out: Path, *, overwrite: bool, seed: int) -> None:
    """Make a detector from a file of features and write it to the folder "detector" of `out`."""
    from synood import OODDetector
    from synood.cli.outputs import check_detector_directory
    from synood.features.files import read_features

    made = out / "detector"
    check_detector_directory(made, overwrite)
    given = read_features(file)
    if given.labels is None or given.class_names is None:
        missing = "class_names" if given.labels is not None else "labels"
        raise InputError(f"{file}: has no {missing}, which a detector is made of; see fit --help")
    tell(f"{len(given.class_names):,} classes, {len(given.features):,} features: {readable(file)}")
    detector = OODDetector.from_features(
        given.features,
        given.labels,
        given.class_names,
        given.text_features,
        given.negative_features,
        negative_labels=given.negative_labels,
        logit_scale=given.logit_scale or 100.0,
        seed=seed,
    )
    detector.save_pretrained(made)
    for note in detector.notes[1:]:
        warn(note)
    deliver(detector_text(detector))
    deliver(f"detector: {made}\nnext: synood score {made} --features FILE\n")


def training_images(
    images: Path | None, classes: Path | None, data: BenchmarkOptions
) -> ImageIndex:
    """List a folder per class, named as a file says if there is one, or a benchmark's images."""
    if (images is None) == (data.benchmark is None):
        raise InputError("fit: give either a folder of images or --benchmark")
    if data.benchmark is None:
        from synood.artifacts import artifact_at
        from synood.images.sources import folder_per_class, read_class_names

        if (found := artifact_at(Path(str(images)))) not in ("", "a directory of results"):
            raise InputError(f"{images}: is {found}; fit needs one folder of images per class")

        given = None if classes is None else read_class_names(classes)
        return folder_per_class(Path(str(images)), given)
    if classes is not None:
        raise InputError("fit: --classes needs a folder of images; a benchmark has class names")
    from synood.benchmark.suites.layouts import open_benchmark

    suite = open_benchmark(data.benchmark, data.root, roles=("train",), naming=data.names)
    return suite.one("train").index()


def _tell_inputs(index: ImageIndex, remarks: Sequence[str]) -> None:
    """Say what the run is about to learn from, with all that looks like a mistake."""
    from synood.images.checks import dataset_warnings

    names, images = index.class_names, len(index.records)
    shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    counts = f"{len(names):,} class{'es' * (len(names) != 1)} ({shown}), {images:,} images"
    tell(f"{counts}: {readable(index.root)}")
    for sentence in (*dataset_warnings(index), *remarks):
        warn(sentence)


def _class_sizes(index: ImageIndex) -> list[int]:
    """Return the number of images of each class."""
    import numpy as np

    rows = index.label_indices()
    return [int(count) for count in np.bincount(rows[rows >= 0], minlength=len(index.class_names))]


def _describer(contexts: DescriberOptions) -> Describer | None:
    """Read the contexts of a JSONL file, or a describer from JSON; None takes the bundle's."""
    if contexts.descriptions is not None and contexts.describer is not None:
        raise InputError("fit: give either --descriptions or --describer")
    if contexts.describer is not None:
        from synood.models.parts import describer_from_json

        described: Describer = describer_from_json(contexts.describer)
        return described
    from synood.models.describer import FileDescriber

    return None if contexts.descriptions is None else FileDescriber(contexts.descriptions)
