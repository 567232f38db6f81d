"""Calibrate: in-distribution images that nothing was learned from -> the threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.detector.conformal import check_enough
from synood.detector.fused import calibrated
from synood.errors import InputError

if TYPE_CHECKING:
    from synood.detector import OODDetector
    from synood.detector.fit_evidence import HeldOut
    from synood.pipeline.rundir.workspace import Workspace
    from synood.settings import Recipe


ADVICE = "set one with `synood calibrate` and images that the detector was not made from"


def calibrate(
    detector: OODDetector,
    held_out: HeldOut,
    recipe: Recipe,
    workspace: Workspace,
    *,
    seen: bool,
) -> OODDetector:
    """Set the threshold from the scores of images that nothing was learned from.

    Where there are too few of them, or an earlier version chose images that were learned from
    (`seen`), the detector has no threshold, and the run says so.
    """
    if seen:
        workspace.notify("calibrate", f"no threshold: no image was kept out of learning; {ADVICE}")
        return detector
    try:
        check_enough(len(held_out), recipe.calibration.tpr)
        detector = calibrated(detector, held_out, recipe.calibration.tpr)
    except InputError as error:
        workspace.notify("calibrate", f"no threshold: {error}; {ADVICE}")
        return detector
    if detector.calibration and detector.calibration.warning:
        workspace.notify("calibrate", detector.calibration.warning)
    return detector
