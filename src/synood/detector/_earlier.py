"""Detectors of schema 1, whose score was the share in [0, 1]: their thresholds as log odds."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

from synood.errors import SynoodWarning

if TYPE_CHECKING:
    from pathlib import Path


def converted(arguments: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the arguments of a detector with its threshold, a share, as log odds.

    A threshold at which the share is saturated - exactly 1, as `plus` gave on one class, or 0 -
    has no log odds: it is dropped with its calibration, a note says so, and so does a warning.
    """
    threshold, found = arguments["threshold"], arguments["calibration"]
    if threshold is None:
        return {**arguments, "calibration": None}
    odds = log_odds(threshold)
    if odds is None:
        sentence = (
            f"the threshold {threshold:g} of an earlier version, a share in [0, 1], has no log "
            "odds and was dropped; set one with `synood calibrate`"
        )
        warnings.warn(f"{path}: {sentence}", SynoodWarning, stacklevel=2)
        note = f"{sentence[0].upper()}{sentence[1:]}."
        notes = (*arguments["notes"], note)
        return {**arguments, "threshold": None, "calibration": None, "notes": notes}
    if found is not None:
        own = log_odds(found["threshold"])
        found = None if own is None else {**found, "threshold": own}
    return {**arguments, "threshold": odds, "calibration": found}


def log_odds(share: float) -> float | None:
    """Log odds of a share, None where it has none.

    >>> log_odds(0.5), log_odds(1.0)
    (0.0, None)
    """
    return math.log(share) - math.log1p(-share) if 0.0 < share < 1.0 else None
