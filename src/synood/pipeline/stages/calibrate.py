"""Calibrate: in-distribution images that nothing was learned from -> the threshold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from synood.detector import OODDetector
from synood.detector.conformal import check_enough
from synood.detector.fused import calibrated
from synood.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synood.detector.fit_evidence import HeldOut
    from synood.pipeline.rundir.workspace import Workspace
    from synood.pipeline.stages.context import RunContext
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


def with_kept_threshold(
    run: RunContext, detector: OODDetector, features: NDArray[np.float32]
) -> OODDetector:
    """Return a detector with the threshold of the one on disk, unless that is to be replaced.

    A run that an earlier version finished makes its detector again. Where both score the images
    with these features (N, D) alike, the threshold there, perhaps set by hand, holds for both.
    """
    if run.overwrite:
        return detector
    try:
        before = OODDetector.from_pretrained(run.root / "detector", device=run.models.device)
    except InputError:  # none is there, or none that can be read
        return detector
    if before.threshold is None or before.class_names != detector.class_names:
        return detector
    if before.class_features.shape != detector.class_features.shape:  # of another encoder
        return detector
    earlier, now = before.score_features(features), detector.score_features(features)
    if not np.allclose(earlier, now, rtol=1e-3, atol=1e-3):
        return detector
    run.workspace.notify(
        "calibrate",
        "the threshold of the detector that was there is kept; --overwrite sets it anew",
    )
    return replace(detector, threshold=before.threshold, calibration=before.calibration)
