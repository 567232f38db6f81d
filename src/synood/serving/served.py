"""The detectors of one server: found by name, loaded with their encoders, and described."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from synood.artifacts import artifact_at
from synood.detector import OODDetector, Prediction
from synood.errors import InputError
from synood.features.extractor import BATCH, FeatureExtractor
from synood.files import readable
from synood.models.bundles import Bundle, load_bundle
from synood.models.device import pick_device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.detector.backbone import Backbone
    from synood.detector.calibration import Calibration
    from synood.features.extractor import Feature

MOST_BINS = 40  # of the histogram of calibration scores


@dataclass(frozen=True, eq=False)
class Served:
    """A detector under its name; those of one encoder share `extractor`, and so their batches."""

    name: str
    detector: OODDetector
    extractor: FeatureExtractor

    def predictions(self, features: Sequence[Feature], *, explain: bool) -> list[Prediction]:
        """Return the predictions of at most `BATCH` images, bit for bit those of `predict`.

        They are padded to `BATCH`, as everywhere.
        """
        padded = [*features, *[features[0]] * (BATCH - len(features))]
        found = self.detector.predict_features(np.stack(padded), explain=explain)
        return found[: len(features)]

    def warm_up(self) -> None:
        """Score a grey image, so that the first client need not wait for what is made once."""
        grey = Image.new("RGB", (256, 256), "grey")
        self.predictions(self.extractor.encoded([grey]), explain=True)

    def described(self) -> dict[str, Any]:
        """Return what the page and its readers need to know of the detector, as JSON values."""
        found = self.detector.calibration
        own = found is not None and found.threshold == self.detector.threshold
        return {
            "name": self.name,
            "encoder": self.detector.backbone.bundle,
            "classes": len(self.detector.class_names),
            "negative_labels": len(self.detector.negative_prompts),
            "threshold": self.detector.threshold,
            "tpr": found.tpr_wanted if found is not None and own else None,
            "calibration": None if found is None else histogram(found),
        }


def histogram(calibration: Calibration) -> dict[str, Any] | None:
    """Return the calibration scores in bins of one width, None where they were not kept.

    `counts` has k numbers, `edges` the k + 1 ends of their bins.
    """
    if calibration.scores is None:
        return None
    bins = max(1, min(MOST_BINS, math.ceil(math.sqrt(calibration.images))))
    counts, edges = np.histogram(calibration.scores.astype(np.float64), bins)
    return {
        "images": calibration.images,
        "edges": [float(f"{edge:.6g}") for edge in edges],
        "counts": counts.tolist(),
    }


def load_served(place: Path, models: str | None = None, device: str = "auto") -> dict[str, Served]:
    """Load a detector, the detector of a run, or each detector and run in a folder, by its name.

    Encoders are loaded, one for all detectors that were made with it. Raises `InputError` for a
    place without detectors, two of one name, one without a threshold and one without an encoder.
    """
    bundle = None if models is None else load_bundle(models)
    encoders: dict[str, tuple[Backbone, FeatureExtractor]] = {}
    found: dict[str, Served] = {}
    for name, path in detector_places(place).items():
        detector = _loaded(path, bundle, device)
        own = detector.backbone
        if own.fingerprint not in encoders:
            own.load()
            encoders[own.fingerprint] = own, own.extractor()
        backbone, extractor = encoders[own.fingerprint]
        found[name] = Served(name, replace(detector, encoder=backbone), extractor)
        found[name].warm_up()
    return found


def detector_places(place: Path) -> dict[str, Path]:
    """Return name -> directory of every detector at `place`, sorted by name.

    A detector has the name of its directory, the detector of a run that of the run.
    """
    if artifact_at(place) or not place.is_dir():
        return {_name(place): _detector_of(place)}
    inside = sorted(
        path for path in place.iterdir() if artifact_at(path) in ("a detector", "a run")
    )
    if not inside:
        return {_name(place): place}  # loading it says what is wrong with it
    return {_name(path): _detector_of(path) for path in inside}


def _detector_of(place: Path) -> Path:
    if artifact_at(place) == "a run" and artifact_at(place / "detector") == "a detector":
        return place / "detector"
    return place


def _name(place: Path) -> str:
    path = place.resolve()
    if path.name == "detector" and artifact_at(path.parent) == "a run":
        path = path.parent
    return readable(Path(path.name))


def _loaded(path: Path, bundle: Bundle | None, device: str) -> OODDetector:
    detector = OODDetector.from_pretrained(path, bundle, pick_device(device))
    if detector.backbone.is_absent:
        raise InputError(
            f"{readable(path)}: was made from features and has no encoder for images, so it cannot "
            "be served; score features with `synood score DETECTOR --features FILE`"
        )
    if detector.threshold is None:
        raise InputError(f"{readable(path)}: has no threshold yet; set one with `synood calibrate`")
    return detector
