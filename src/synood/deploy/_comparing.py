"""Whether an exported file scores as the detector does, on images of every shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from synood.deploy.onnx_detector import OnnxDetector
from synood.errors import SynoodError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.deploy._metadata import Input, Precision
    from synood.detector import OODDetector, Prediction
    from synood.images.inputs import ImageInput

BOUND = 0.25  # log odds; the resizing in the graph moves a score by 0.06 at most on photographs
SPREAD = 0.05  # or this fraction of the range of the scores, where they are spread wider
_SIZES = ((320, 240), (240, 320), (640, 426), (90, 400), (900, 120), (61, 47), (500, 500), (17, 23))
_FEATURES = 16


class ExportError(SynoodError):
    """The file that was about to be written does not score as the detector does."""


@dataclass(frozen=True)
class Comparison:
    """Of `images` compared, `differing` have another verdict and `renamed` another class.

    `distance` is the largest difference of scores, `spread` the range of the detector's.
    """

    images: int
    differing: int
    renamed: int
    distance: float
    spread: float

    @classmethod
    def of(cls, own: Sequence[Prediction], theirs: Sequence[Prediction]) -> Comparison:
        """Compare predictions of the same images; unreadable ones are left out."""
        pairs = [pair for pair in zip(own, theirs, strict=True) if not pair[0].error]
        scores = np.array([[a.score, b.score] for a, b in pairs]).reshape(-1, 2)
        distances = np.nan_to_num(np.abs(scores[:, 0] - scores[:, 1]), nan=np.inf)
        return cls(
            len(pairs),
            sum(a.is_ood != b.is_ood for a, b in pairs),
            sum(a.label != b.label for a, b in pairs),
            float(distances.max(initial=0.0)),
            float(np.ptp(scores[:, 0])) if pairs else 0.0,
        )

    def check(self, precision: Precision) -> None:
        """Raise an `ExportError` where scores differ by more than rounding explains.

        With 8 bits they may differ by as much as the scores of different images do.
        """
        bound = max(BOUND, SPREAD * self.spread)
        if precision == "int8":
            bound = max(bound, self.spread)
        if not self.distance <= bound:
            raise ExportError(
                f"the exported file's scores differ from the detector's by up to "
                f"{self.distance:.3g} (at most {bound:.3g} is rounding); nothing was written. "
                "Please report it with the encoder's name"
            )


def compare(
    detector: OODDetector, data: bytes, input: Input, images: Sequence[ImageInput] = ()
) -> Comparison:
    """Compare a file's bytes with the detector on `images`, made-up ones if none are given."""
    exported = OnnxDetector.from_bytes(data, "the exported file")
    if input == "features":
        rows = made_up_features(detector)
        return Comparison.of(
            detector.predict_features(rows, explain=False), exported.predict_features(rows)
        )
    given = list(images) or made_up_images()
    own = detector.iter_predict(given, report_unreadable=True)
    return Comparison.of([*own], exported.predict(given))


def made_up_images() -> list[Image.Image]:
    """Return coloured clouds of several shapes, the same each time."""
    random = np.random.default_rng(0)
    found = []
    for size in _SIZES:
        coarse = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        cloud = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
        grain = random.integers(-20, 21, cloud.shape)
        found.append(Image.fromarray(np.clip(cloud + grain, 0, 255).astype(np.uint8)))
    return found


def made_up_features(detector: OODDetector) -> np.ndarray:
    """Return features (N, D) near the classes and away from them, the same each time."""
    random = np.random.default_rng(0)
    classes = detector.class_features[:_FEATURES]
    away = random.normal(size=(_FEATURES, classes.shape[1])) / np.sqrt(classes.shape[1])
    near = classes + 0.5 * away[: len(classes)]
    return np.concatenate([near, away]).astype(np.float32)
