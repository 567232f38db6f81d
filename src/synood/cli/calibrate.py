"""`synood calibrate`: the threshold of a detector."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - the command line reads the annotations

from synood.cli.console import deliver, detector_text, reporter, warn, warn_of_unreadable
from synood.cli.options import Device, MaxBad, Overwrite  # noqa: TC001


def calibrate(
    detector: Path,
    /,
    *,
    id: Path,
    tpr: float = 0.95,
    max_bad: MaxBad = 0.05,
    out: Path | None = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
) -> None:
    """Set the threshold below which an image counts as out-of-distribution.

    Parameters
    ----------
    detector
        Directory of the detector.
    id
        In-distribution images that the detector was not made from.
    tpr
        Fraction of the in-distribution images to keep, e.g. 0.95.
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
    from synood.images.sources import find_images
    from synood.metrics import checked_rate

    checked_rate(tpr)
    check_fraction(max_bad)
    if out is not None:
        check_detector_directory(out, overwrite)
    else:
        check_output_directory(detector, overwrite=True)
    index = find_images([id])
    loaded = load_detector(detector, device)
    warn_of_tuned_images(detector, index)
    with reporter() as progress:
        scored = score_images(loaded, index, "calibrate", progress, max_bad)
    warn_of_unreadable(scored.unreadable, "calibrate")
    loaded = loaded.calibrate(scored.scores, tpr)
    loaded.save_pretrained(out or detector)
    deliver(detector_text(loaded))
    if loaded.calibration and loaded.calibration.warning:
        warn(loaded.calibration.warning)
