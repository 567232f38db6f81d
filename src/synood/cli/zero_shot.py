"""`synood zero-shot`: a detector from class names alone."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - the command line reads the annotations

from synood.cli.console import deliver, detector_text, warn
from synood.cli.options import (
    OWN_DATA,
    BenchmarkOptions,
    Device,
    MiningAssignments,
    Models,
    Overwrite,
    Preprocess,
    Share,
)


def zero_shot(
    *,
    classes: Path | None = None,
    out: Path,
    overwrite: Overwrite = False,
    data: BenchmarkOptions = OWN_DATA,
    models: Models = "photo",
    preprocess: Preprocess = None,
    negatives: str | None = None,
    share: Share = None,
    set_: MiningAssignments = (),
    device: Device = "auto",
) -> None:
    """Make a detector from class names alone (NegLabel): no images, no training.

    Parameters
    ----------
    classes
        File of class names: .txt with one per line, or a .json list.
    out
        Directory for the detector.
    negatives
        Negative labels to use: a text file, one per line, "neglabel-imagenet" or \
"negrefine-imagenet"; mined otherwise.
    """
    from synood.cli.inputs import (
        class_names,
        mining_assignments,
        mining_of,
        preprocessed,
        warn_of_encoder,
        warn_of_names,
    )
    from synood.cli.outputs import check_detector_directory
    from synood.detector.ood_detector import OODDetector
    from synood.models.bundles import load_bundle
    from synood.pipeline.overruled import overruled_by_labels

    check_detector_directory(out, overwrite)
    bundle = load_bundle(preprocessed(models, preprocess))
    assignments = mining_assignments(share, set_)
    mining = mining_of(bundle, assignments)
    for remark in overruled_by_labels(assignments) if negatives else ():
        warn(remark)
    classnames = class_names(classes, data)
    warn_of_names(classnames)
    if data.benchmark is None:
        warn_of_encoder(bundle, classnames)
    detector = OODDetector.from_classes(
        classnames,
        bundle,
        negatives,
        device=device,
        mining=mining,
    )
    detector.save_pretrained(out)
    deliver(detector_text(detector))
    deliver("".join(f"{note}\n" for note in detector.notes))
    deliver(f"detector: {out}\n")
