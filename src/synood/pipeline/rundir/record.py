"""What a run tracker is told of a run: its settings before, and what came out after."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import synood

if TYPE_CHECKING:
    from synood.detector import OODDetector
    from synood.images.sources import ImageIndex
    from synood.models.loaded import Models
    from synood.settings import Recipe


def run_config(models: Models, recipe: Recipe, index: ImageIndex, seed: int) -> dict[str, Any]:
    """Return the settings of a run as JSON values; no image and no class is named."""
    return {
        "synood": synood.__version__,
        "bundle": models.bundle.name,
        "device": models.device,
        "seed": seed,
        "classes": len(index.class_names),
        "images": len(index.records),
        "recipe": asdict(recipe),
    }


def final_metrics(detector: OODDetector) -> dict[str, float]:
    """Return what is known of a finished detector as numbers."""
    found = detector.calibration
    values: dict[str, float | None] = {
        "negative_labels": len(detector.negative_prompts),
        "tuned_negatives": len(detector.tuned_rows),
        "threshold": detector.threshold,
    }
    if found is not None:
        values |= {
            "calibration_images": found.images,
            "tpr": found.tpr_reached,
            "tpr_low": found.tpr_low,
            "tpr_high": found.tpr_high,
        }
    return {f"final/{name}": float(value) for name, value in values.items() if value is not None}
