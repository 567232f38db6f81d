"""`synood calibrate`: the threshold of a detector."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - the command line reads the annotations

from synood.cli.console import deliver, detector_text, reporter, warn, warn_of_unreadable
from synood.cli.options import Device, Flag, InDistribution, MaxBad, Overwrite  # noqa: TC001
from synood.errors import InputError


def calibrate(
    detector: Path,
    /,
    *,
    id: InDistribution = None,
    features: Path | None = None,
    tpr: float = 0.95,
    per_class: Flag = False,
    max_bad: MaxBad = 0.05,
    out: Path | None = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
) -> None:
    """Set the threshold below which an image counts as out-of-distribution.

    It keeps at least --tpr of new in-distribution images on average, whatever their number, if \
they are of the same kind as these. The scores are kept for the p-values of `synood score`.

    Parameters
    ----------
    detector
        Directory of the detector, or its id OWNER/NAME on the Hugging Face hub.
    features
        Safetensors file with a tensor "features" (N, D) of such images, in place of --id.
    tpr
        Fraction of new in-distribution images to keep, e.g. 0.95, which needs 19 images or more.
    per_class
        A threshold for each predicted class that has enough images, and one for all others.
    out
        Directory for the calibrated detector; DETECTOR itself is updated if not given.
    """
    from synood.cli.inputs import (
        check_fraction,
        load_detector,
        score_images,
        warn_of_tuned_images,
    )
    from synood.cli.outputs import check_detector_directory, check_output_directory
    from synood.detector.conformal import check_enough, images_needed
    from synood.detector.prediction import image_evidence_of
    from synood.images.listing import listed_images
    from synood.pipeline.scoring import predict_file

    if (id is None) == (features is None):
        raise InputError("calibrate: give either --id or --features")
    images_needed(tpr)  # refuses what is no fraction
    check_fraction(max_bad)
    if out is not None:
        check_detector_directory(out, overwrite)
    else:
        check_output_directory(detector, overwrite=True)
    loaded = load_detector(detector, device)
    if out is None and not detector.exists():
        raise InputError(f"{detector}: lies on the hub; give a directory to write to as --out")
    if id is not None:
        index = listed_images([id])
        check_enough(len(index.records), tpr)  # before they are encoded
        warn_of_tuned_images(detector, index)
        with reporter() as progress:
            scored = score_images(loaded, index, "calibrate", progress, max_bad)
        warn_of_unreadable(scored.unreadable, "calibrate")
        loaded = loaded.calibrate(
            scored.scores, tpr, per_class, scored.labels, scored.image_evidence
        )
    elif features is not None:
        found = predict_file(loaded, features)
        loaded = loaded.calibrate(
            [one.score for one in found],
            tpr,
            per_class,
            [one.label for one in found],
            image_evidence_of(found),
        )
    loaded.save_pretrained(out or detector)
    deliver(detector_text(loaded))
    if loaded.calibration and loaded.calibration.warning:
        warn(loaded.calibration.warning)
