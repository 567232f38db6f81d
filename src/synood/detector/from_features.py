"""A detector from features computed anywhere: another CLIP, DINO, an embedding service."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.arrays import is_real, to_numpy
from synood.detector._checks import class_rows
from synood.detector.backbone import Backbone
from synood.detector.fit_evidence import checked_images, evenly, fit_evidence
from synood.detector.fused import EvidenceImages, calibrated, with_evidence
from synood.detector.ood_detector import OODDetector
from synood.errors import InputError
from synood.labels.class_names import checked_class_names
from synood.settings import PLUS_EVIDENCE, PLUS_PROJECTION, ScoreSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from synood.detector.fit_evidence import HeldOut
    from synood.settings import EvidenceSettings
    from synood.tuning.projection import Projection

    Floats = NDArray[np.float32]
    Rows = NDArray[np.int64]

MIN_STEPS = 100  # of the projection's tuning, however few the images
RECIPE = "features"  # what made these detectors
GIVEN = "given"  # prompt set of texts that were encoded elsewhere
NO_TEXTS = "none"  # prompt set of a detector whose encoder reads no texts


def detector_from_features(
    features: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str],
    text_features: ArrayLike | None = None,
    negative_features: ArrayLike | None = None,
    *,
    negative_labels: Sequence[str] | None = None,
    logit_scale: float = 100.0,
    tpr: float = 0.95,
    seed: int = 0,
    settings: EvidenceSettings = PLUS_EVIDENCE,
) -> OODDetector:
    """Make a detector as `OODDetector.from_features` says."""
    names = checked_class_names(class_names)
    which = _rows_of(labels, names)
    rows = _checked_features(features, which, names)
    texts = _texts(text_features, negative_features, names, rows.shape[1])
    if not is_real(logit_scale) or not 0 < logit_scale < np.inf:
        raise InputError(f"logit_scale: must be a number above 0, not {logit_scale!r}")
    negative_names = _negative_names(negative_labels, 0 if texts is None else len(texts[1]))
    score = ScoreSettings(temperature=1 / logit_scale)
    note = f"Made of {len(rows):,} features that were computed elsewhere."
    if texts is None:
        detector, held_out = detector_of_images(
            Backbone.absent(), names, rows, which, settings, score, recipe=RECIPE, note=note
        )
        return _with_threshold(detector, held_out, tpr)
    detector = OODDetector(
        encoder=Backbone.absent(),
        class_names=names,
        prompt_set=GIVEN,
        class_features=texts[0],
        negative_prompts=negative_names,
        negative_features=texts[1],
        settings=score,
        recipe=RECIPE,
        notes=(note,),
    )
    detector, held_out = _with_texts(detector, rows, which, settings, seed)
    return _with_threshold(detector, held_out, tpr)


def detector_of_images(
    backbone: Backbone,
    names: Sequence[str],
    rows: Floats,
    which: Rows,
    settings: EvidenceSettings,
    score: ScoreSettings,
    *,
    recipe: str,
    note: str,
) -> tuple[OODDetector, HeldOut]:
    """Make a detector of image evidence alone, where there are no texts.

    `rows` (N, D) are the encoder's features, `which` (N,) their classes; the class means stand
    where the class names' features would. Also returned is what images are given by evidence that
    has not seen them, for the threshold.
    """
    evidence, held_out = fit_evidence(rows, which, len(names), settings=settings)
    detector = OODDetector(
        encoder=backbone,
        class_names=tuple(names),
        prompt_set=GIVEN if backbone.is_absent else NO_TEXTS,
        class_features=_means(rows, which),
        negative_prompts=(),
        negative_features=np.zeros((0, rows.shape[1]), np.float32),
        settings=score,
        recipe=recipe,
        notes=(note,),
        image_evidence=evidence,
    )
    return detector, held_out.finite()


def _with_texts(
    detector: OODDetector, rows: Floats, which: Rows, settings: EvidenceSettings, seed: int
) -> tuple[OODDetector, HeldOut]:
    """Tune a projection on some images of each class, and weigh text and images on the others."""
    first = evenly(which, PLUS_PROJECTION.images_per_class or len(which))
    order = np.concatenate([first, np.setdiff1d(np.arange(len(which)), first)])
    images = EvidenceImages(rows[order], which[order], len(first))
    tuning = replace(
        PLUS_PROJECTION,
        logit_scale=1 / detector.settings.temperature,
        min_steps=MIN_STEPS,
        views=0,
    )

    def tuned(learn_from: NDArray[np.bool_]) -> Projection:
        from synood.tuning.projection import tune_projection

        own = np.flatnonzero(learn_from)
        dim = rows.shape[1]
        return tune_projection(
            images.features[own],
            images.targets[own],
            np.zeros((0, dim), np.float32),
            np.zeros(0, np.int64),
            detector.class_features,
            detector.negative_features,
            tuning,
            seed,
        )

    detector = replace(detector, projection=tuned(np.ones(len(first), bool)))
    return with_evidence(detector, images, settings, tuned)


def _with_threshold(detector: OODDetector, held_out: HeldOut, tpr: float) -> OODDetector:
    """Set the threshold from scores that images have held out, if there are enough."""
    from synood.detector.conformal import images_needed

    if len(held_out) < images_needed(tpr):
        note = (
            f"It has no threshold: {len(held_out)} images are too few for one that keeps "
            f"{tpr:.0%}; calibrate it with {images_needed(tpr)} or more."
        )
        return replace(detector, notes=(*detector.notes, note))
    return calibrated(detector, held_out, tpr)


def _rows_of(labels: ArrayLike, names: Sequence[str]) -> Rows:
    """Return the class of each image as a row of `names`: given so, or by name."""
    given = to_numpy(labels, "labels")
    if given.ndim != 1 or given.dtype.kind not in "iuU":
        raise InputError("labels: need a class for each image, as its number or its name")
    if given.dtype.kind != "U":
        return given.astype(np.int64)
    return class_rows(given.tolist(), names)


def _checked_features(features: ArrayLike, which: Rows, names: Sequence[str]) -> Floats:
    """Return features (N, D) as float32; say which class has none by its name."""
    rows = to_numpy(features, "features").astype(np.float32)
    empty = np.flatnonzero(np.bincount(which[which >= 0], minlength=len(names))[: len(names)] == 0)
    if rows.ndim == 2 and len(rows) == len(which) and len(empty):
        raise InputError(f"features: class {names[empty[0]]!r} has no image; add some or drop it")
    checked_images(rows, which, len(names))
    return rows


def _texts(
    text_features: ArrayLike | None,
    negative_features: ArrayLike | None,
    names: Sequence[str],
    dim: int,
) -> tuple[Floats, Floats] | None:
    """Return unit-length features of class names (C, D) and negative labels (M, D), None if none.

    Equation 2 needs both.
    """
    if text_features is None and negative_features is None:
        return None
    if text_features is None or negative_features is None:
        pair = ("text_features", "negative_features")
        known, other = pair if negative_features is None else pair[::-1]
        raise InputError(
            f"{other}: needed beside {known}, since the text's evidence is the class names "
            "against the negative labels; leave both out for image evidence alone"
        )
    found = []
    for name, values in (
        ("text_features", text_features),
        ("negative_features", negative_features),
    ):
        rows = scores.normalise(values, name)
        if rows.shape[1] != dim:
            raise InputError(f"{name}: {rows.shape[1]} columns, but features have {dim}")
        found.append(rows)
    if len(found[0]) != len(names):
        raise InputError(f"text_features: {len(found[0])} rows for {len(names)} class names")
    if not len(found[1]):
        raise InputError("negative_features: no rows; give some, or leave both texts out")
    return found[0], found[1]


def _negative_names(given: Sequence[str] | None, count: int) -> tuple[str, ...]:
    if given is None:
        return tuple(f"negative {number}" for number in range(count))
    if len(given) != count:
        raise InputError(f"negative_labels: {len(given)} for {count} rows of negative_features")
    return tuple(str(label) for label in given)


def _means(rows: Floats, which: Rows) -> Floats:
    """Return unit-length class means, which stand where the class names' features would."""
    units = scores.normalise(rows)
    sums = np.zeros((int(which.max()) + 1, rows.shape[1]))
    np.add.at(sums, which, units.astype(np.float64))
    return scores.normalise(sums, "class means")
