"""Text and image evidence put together, each seen on images that it has not learned from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from synood.detector.fit_evidence import fit_evidence, folds
from synood.files import sha256_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from synood.detector.fit_evidence import HeldOut
    from synood.detector.ood_detector import OODDetector
    from synood.settings import EvidenceSettings
    from synood.tuning.projection import Projection

    TuneAgain: TypeAlias = Callable[[NDArray[np.bool_]], Projection | None]

FEW = 60  # with fewer images that the projection has not learned from, it is tuned fold by fold
"""So few would set the threshold badly; tuning five times more takes a minute."""


@dataclass(frozen=True)
class EvidenceImages:
    """In-distribution images whose looks are evidence.

    `features` (N, D) as the encoder gives them; `targets` (N,) rows of classes; the first `learnt`
    of them are those that the projection learns the classes from, in the same order; `calibrate`
    (N,) says which of the others may set the threshold, None: all.
    """

    features: NDArray[np.float32]
    targets: NDArray[np.int64]
    learnt: int
    calibrate: NDArray[np.bool_] | None = None

    def fingerprint(self) -> str:
        """Digits that change with every array."""
        arrays = (self.features, self.targets, np.array(self.learnt))
        hashes = [sha256_bytes(np.ascontiguousarray(array).tobytes()) for array in arrays]
        return sha256_bytes("".join(hashes).encode())

    @property
    def rest(self) -> slice:
        """The images that the projection has not learned from."""
        return slice(self.learnt, None)

    @property
    def enough_left(self) -> bool:
        """Whether they are enough to see how the text's evidence takes new images."""
        return len(self.features) - self.learnt >= FEW


def with_evidence(
    detector: OODDetector,
    images: EvidenceImages,
    settings: EvidenceSettings,
    tune_again: TuneAgain | None,
) -> tuple[OODDetector, HeldOut]:
    """Return the detector with image evidence, and scores for calibration.

    These are of the images that the projection has not learned from, from evidence that has not
    seen them. Where there are few such images, the projection is tuned again for each fold of the
    others - `tune_again` gets a mask (learnt,) of the images to learn from - and the scores are of
    all images. With None for it there is no text, and the score is of image evidence alone.
    """
    text = None
    if tune_again is not None:
        text = np.full(len(images.features), np.nan)
        if images.learnt < len(text):
            text[images.rest] = detector.score_features(images.features[images.rest])
        if not images.enough_left:
            text[: images.learnt] = _held_out_text(detector, images, settings.folds, tune_again)
    evidence, held_out = fit_evidence(
        images.features, images.targets, len(detector.class_names), text=text, settings=settings
    )
    fused = replace(detector, image_evidence=evidence)
    usable = np.isfinite(held_out.scores)
    if text is not None and images.enough_left:
        usable[: images.learnt] = False
        usable &= True if images.calibrate is None else images.calibrate
    return fused, held_out.only(usable)


def calibrated(detector: OODDetector, held_out: HeldOut, tpr: float) -> OODDetector:
    """Return the detector with the threshold that keeps at least `tpr` of new images."""
    looks = held_out.image_evidence
    detector = detector.calibrate(held_out.scores, tpr, image_evidence=looks)
    if detector.calibration is None or not held_out.cross_fitted:
        return detector
    return replace(detector, calibration=replace(detector.calibration, cross_fitted=True))


def _held_out_text(
    detector: OODDetector, images: EvidenceImages, count: int, tune_again: TuneAgain
) -> NDArray[np.float32]:
    """Return the text's log odds of the images learned from, each without having learned from it.

    A single image cannot be left out: its value is the one it has.
    """
    features = images.features[: images.learnt]
    text = detector.score_features(features)
    if images.learnt < 2:
        return text
    fold = folds(images.targets[: images.learnt], max(2, count))
    for number in np.unique(fold):
        out = fold == number
        if not out.all():
            again = replace(detector, projection=tune_again(~out))
            text[out] = again.score_features(features[out])
    return text
