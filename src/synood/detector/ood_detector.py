"""OODDetector: what a user holds. Class names or images in, scores and verdicts out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synood.arrays import to_numpy
from synood.detector._checks import as_scores, check_parts, class_rows, readable
from synood.detector._constructors import Constructors
from synood.detector._scoring import Scored, Scorer
from synood.detector.backbone import Backbone
from synood.detector.calibration import Calibration, calibrate_threshold
from synood.detector.explanation import Explanation
from synood.detector.prediction import Prediction, image_evidence_of
from synood.detector.saving import write_detector
from synood.errors import InputError
from synood.features.extractor import BATCH
from synood.features.unreadable import Unreadable, map_padded
from synood.images.inputs import batches, is_one_image, path_of
from synood.labels.class_names import checked_class_names
from synood.settings import ScoreSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from synood.detector.evidence import ImageEvidence
    from synood.features.extractor import FeatureExtractor
    from synood.images.inputs import Images
    from synood.models.clip import ImageTextEncoder
    from synood.tuning.projection import Projection

__all__ = ["OODDetector", "Prediction"]


@dataclass(frozen=True, eq=False, repr=False)
class OODDetector(Constructors):
    """Scores how much an image belongs to the classes against negative labels (equation 2).

    A score is the log odds of that share, so that it never saturates: 0 is as much on the classes
    as on the negative labels, and `synood.scores.share` gives the share in [0, 1] back.
    `class_features` (C, D) and `negative_features` (M, D) are text features, float32 and of unit
    length; `tuned_rows` are the rows of `negative_features` that were tuned. With `image_evidence`
    the score, log odds as well, also weighs what the images of the classes look like. `encoder` is
    an encoder, or the `Backbone` that records one and loads it when it is needed. `notes` are
    sentences on how it was made, for the card.

    >>> from synood import OODDetector
    >>> detector = OODDetector.from_classes(["panda", "lighthouse"])  # doctest: +SKIP
    >>> detector.score(["panda.jpg", "receipt.jpg"])  # doctest: +SKIP
    array([ 2.7, -2.6], dtype=float32)
    """

    encoder: ImageTextEncoder | Backbone
    class_names: tuple[str, ...]
    prompt_set: str
    class_features: NDArray[np.float32]
    negative_prompts: tuple[str, ...]
    negative_features: NDArray[np.float32]
    projection: Projection | None = None
    settings: ScoreSettings = field(default_factory=ScoreSettings)
    threshold: float | None = None
    calibration: Calibration | None = None
    tuned_rows: tuple[int, ...] = ()
    recipe: str = "zero-shot"
    notes: tuple[str, ...] = ()
    image_evidence: ImageEvidence | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", checked_class_names(self.class_names))
        object.__setattr__(self, "negative_prompts", tuple(self.negative_prompts))
        check_parts(self)

    def __repr__(self) -> str:
        return (
            f"OODDetector({len(self.class_names)} classes, {len(self.negative_prompts)} negatives, "
            f"recipe={self.recipe!r}, backbone={self.backbone.bundle!r}, "
            f"threshold={self.threshold})"
        )

    @property
    def backbone(self) -> Backbone:
        """Which encoder made the features."""
        if isinstance(self.encoder, Backbone):
            return self.encoder
        return Backbone(
            self.encoder.name, self.encoder.fingerprint, device="cpu", encoder=self.encoder
        )

    def embed(self, images: Images) -> NDArray[np.float32]:
        """Return the encoder's features of images: (N, D) float32, not normalised.

        `images` are paths, folders, opened images or arrays (H, W, 3) of bytes, one or many. On one
        machine an image has the same feature alone, among others and from the cache, bit for bit.
        Raises `InputError` for an image that cannot be read.

        >>> detector.embed("holiday/").shape  # doctest: +SKIP
        (120, 384)
        """
        parts = self._extractor.stream(batches(images, BATCH))
        rows = [readable(row) for _, found in parts for row in found]
        return np.stack(rows) if rows else np.zeros((0, self.class_features.shape[1]), np.float32)

    def score(self, images: Images) -> NDArray[np.float32]:
        """Score images: (N,) float32 log odds, higher = more in-distribution.

        `images` are as for `embed`; they are decoded and encoded in batches, so many paths take
        little memory. On one machine an image has the same score alone and among others. Raises
        `InputError` for an image that cannot be read; `predict` goes on past it.

        >>> detector.score("holiday/")  # doctest: +SKIP
        """
        return np.array([found.score for found in self.iter_predict(images)], np.float32)

    def score_features(self, features: ArrayLike) -> NDArray[np.float32]:
        """Score the encoder's image features (N, D), not normalised: (N,) float32 log odds.

        >>> detector.score_features(detector.embed("holiday/"))  # doctest: +SKIP
        """
        return self._scorer.log_odds(features)

    def predict(self, images: Images) -> list[Prediction]:
        """Score images and say for each whether it is out-of-distribution, its class, and why.

        `why` has the three nearest class names and negative labels, with cosines. Of several images
        or a folder, one that cannot be read has the reason in `error`, a score of NaN and no
        verdict, and the others are predicted. A single image that cannot be read raises
        `InputError`, as `score` does for any.

        >>> detector.predict(["panda.jpg"])[0].label  # doctest: +SKIP
        'panda'
        """
        several = not is_one_image(images)
        return list(self.iter_predict(images, report_unreadable=several, explain=True))

    def iter_predict(
        self, images: Images, *, report_unreadable: bool = False, explain: bool = False
    ) -> Iterator[Prediction]:
        """Yield what `predict` returns, a batch at a time: for many images, and for progress.

        With `report_unreadable`, an image that cannot be read has the reason in `error` instead of
        ending the iteration; without `explain`, `why` is None.

        >>> for prediction in detector.iter_predict("archive/"):  # doctest: +SKIP
        ...     print(prediction.path, prediction.score)
        """
        for batch, features in self._extractor.stream(batches(images, BATCH)):
            paths = [path_of(item) for item in batch]
            scored = map_padded(features, self._scorer.scored, BATCH)
            reasons = map_padded(features, self._scorer.explained, BATCH) if explain else scored
            for path, found, why in zip(paths, scored, reasons, strict=True):
                if not isinstance(found, Unreadable):
                    predicted = self._prediction(found, path)
                    yield replace(predicted, why=why) if isinstance(why, Explanation) else predicted
                elif report_unreadable:
                    yield Prediction(math.nan, None, "", path, found.reason)
                else:
                    raise InputError(found.reason)

    def predict_features(
        self,
        features: ArrayLike,
        paths: Sequence[Path | None] | None = None,
        *,
        explain: bool = True,
    ) -> list[Prediction]:
        """Return what `predict` returns for images whose features (N, D) are known.

        Without `explain`, `why` is None.

        >>> detector.predict_features(detector.embed([image]))  # doctest: +SKIP
        """
        rows = to_numpy(features, "image features").astype(np.float32, copy=False)
        found = self._scorer.scored([*rows]) if len(rows) else []
        reasons = self._scorer.explained([*rows]) if len(rows) and explain else [None] * len(found)
        return [
            replace(self._prediction(one, path), why=why)
            for one, why, path in zip(found, reasons, paths or [None] * len(found), strict=True)
        ]

    def calibrate(
        self,
        images: Images | ArrayLike,
        tpr: float = 0.95,
        per_class: bool = False,
        labels: Sequence[str] | None = None,
        image_evidence: ArrayLike | None = None,
    ) -> OODDetector:
        """Return this detector with the threshold that keeps at least `tpr` of new images.

        That holds on average, for any number of images, if new ones are of the same kind as these.
        Give in-distribution images (or their scores) that were not used to make the detector; the
        new detector's `calibration` says how many there were and how certain the fraction is. With
        `per_class`, every predicted class that has enough images has a threshold of its own, and
        the others have one together; beside scores this needs the `labels` predicted with them.
        `image_evidence` (N,) of the predictions may stand beside scores too: it is kept to tell
        whether new images look as these do. Raises `InputError` for too few images, saying how many
        are needed.

        >>> detector.calibrate("validation/", tpr=0.95).threshold  # doctest: +SKIP
        0.92
        """
        values = as_scores(images)
        if values is None:
            found = [*self.iter_predict(images)]  # type: ignore[arg-type]
            values = np.array([one.score for one in found], np.float32)
            labels = [one.label for one in found]
            image_evidence = image_evidence_of(found)
        elif per_class and labels is None:
            raise InputError("calibration: per_class needs the predicted labels beside scores")
        rows = class_rows(labels, self.class_names) if per_class and labels is not None else None
        calibration = calibrate_threshold(values, tpr, rows, image_evidence)
        return replace(self, threshold=calibration.threshold, calibration=calibration)

    def p_values(
        self, scores: ArrayLike, labels: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        """Return the p-values of scores (N,): the part of in-distribution images below each.

        Small is out-of-distribution: of new in-distribution images at most the fraction a has a
        p-value of a or less. `labels` (N,) are the predicted classes, needed only by a detector
        that was calibrated `per_class`. Raises `InputError` without calibration scores.

        >>> detector.p_values(detector.score("holiday/"))  # doctest: +SKIP
        """
        if self.calibration is None:
            raise InputError("detector: p-values need in-distribution images: see `calibrate`")
        rows = None if labels is None else class_rows(labels, self.class_names)
        return self.calibration.p_values(scores, rows)

    def save_pretrained(self, path: str | Path) -> None:
        """Write the detector as a directory of safetensors, JSON and text, whole or not at all.

        A detector that is there is replaced; anything else is left alone with an `InputError`.

        >>> detector.save_pretrained("my-detector")  # doctest: +SKIP
        """
        write_detector(self, Path(path))

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        revision: str | None = None,
        token: str | None = None,
        commit_message: str | None = None,
        license: str | None = None,
        results: str | Path | None = None,
        dataset: str | None = None,
        overwrite: bool = False,
    ) -> str:
        """Publish the detector on the Hugging Face hub; return the address of the commit.

        The repository `repo_id` ("owner/name") is made if need be, as `private` where asked for;
        in one that holds files already, a detector is replaced with `overwrite` and anything else
        refused. Everything goes up in one commit to `revision` ("main", or a branch that is made),
        so that a connection that breaks leaves the repository as it was. `token` is that of
        `hf auth login` or HF_TOKEN if not given. `license` (such as "apache-2.0") goes into the
        card, and so does a table of `results`, a file of `synood evaluate`; with `dataset`, the hub
        id of a benchmark, they become `.eval_results` too. See `synood.deploy.hub.push`.

        Raises `InputError` for what the hub refuses, saying what to do.

        >>> detector.push_to_hub("me/my-detector", private=True)  # doctest: +SKIP
        'https://huggingface.co/me/my-detector/commit/0f5a...'
        """
        # by its name, since publishing is built on detectors and not the other way round
        push = import_module("synood.deploy.hub").push
        address: str = push(
            self,
            repo_id,
            private=private,
            revision=revision,
            token=token,
            commit_message=commit_message,
            license=license,
            results=results,
            dataset=dataset,
            overwrite=overwrite,
        )
        return address

    def on(self, device: str) -> OODDetector:
        """Return this detector with its encoder, not yet loaded, on `device`."""
        return replace(self, encoder=self.backbone.on(device))

    def threshold_of(self, label: int) -> float | None:
        """Return the threshold for an image whose predicted class has this row in `class_names`.

        It is `threshold`, unless `calibrate` gave classes their own; None where there is none yet.

        >>> detector.threshold_of(detector.class_names.index("panda"))  # doctest: +SKIP
        """
        found = self.calibration
        if found is None or self.threshold != found.threshold:  # which was set by hand since
            return self.threshold
        return found.threshold_of(label)

    @cached_property
    def _extractor(self) -> FeatureExtractor:
        return self.backbone.extractor()

    def _prediction(self, one: Scored, path: Path | None) -> Prediction:
        found, threshold = self.calibration, self.threshold_of(one.row)
        return Prediction(
            score=one.score,
            is_ood=None if threshold is None else one.score < threshold,
            label=self.class_names[one.row],
            path=path,
            p_value=None if found is None else found.p_value(one.score, one.row),
            image_evidence=one.image_evidence,
        )

    @cached_property
    def _scorer(self) -> Scorer:
        return Scorer(
            self.class_names,
            self.class_features,
            self.negative_prompts,
            self.negative_features,
            self.projection,
            self.settings,
            self.image_evidence,
        )
