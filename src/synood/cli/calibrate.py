"""`synood calibrate`: the threshold of a detector."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - the command line reads the annotations

from synood.cli.console import deliver, detector_text, reporter
from synood.cli.options import Device  # noqa: TC001


def calibrate(
    detector: Path,
    /,
    *,
    id: Path,
    tpr: float = 0.95,
    out: Path | None = None,
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
    from synood.cli.inputs import load_detector, scores_of
    from synood.images.sources import find_images

    index = find_images([id])
    judge = load_detector(detector, device)
    with reporter() as progress:
        scores = scores_of(judge, index, "calibrate", progress)
    judge = judge.calibrate(scores, tpr)
    judge.save_pretrained(out or detector)
    deliver(detector_text(judge))
    if judge.calibration and judge.calibration.warning:
        deliver(f"warning: {judge.calibration.warning}\n")
