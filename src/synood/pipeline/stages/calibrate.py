"""Calibrate: in-distribution images that were not tuned on -> the threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from synood.detector import OODDetector
    from synood.pipeline.rundir.selection import SelectedImage
    from synood.pipeline.rundir.workspace import Workspace
    from synood.settings import Recipe


def calibrate(
    detector: OODDetector,
    features: NDArray[np.float32],
    images: Sequence[SelectedImage],
    recipe: Recipe,
    workspace: Workspace,
) -> OODDetector:
    """Set the threshold from in-distribution images, and say so where it cannot be trusted."""
    try:
        detector = detector.calibrate(detector.score_features(features), recipe.calibration.tpr)
    except InputError as error:
        workspace.notify(
            "calibrate",
            f"no threshold is set ({error}); set one with `synood calibrate` and other images",
        )
        return detector
    if any(image.teaches_its_class for image in images):
        workspace.notify(
            "calibrate",
            "too few images are left over to set the threshold: it comes from those tuned on "
            "and rejects too many new ones; set it with `synood calibrate` and other images",
        )
    elif detector.calibration and detector.calibration.warning:
        workspace.notify("calibrate", detector.calibration.warning)
    return detector
