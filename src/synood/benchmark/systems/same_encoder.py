"""The baselines that any detector can be held against: on its own encoder, with nothing chosen.

Distances and a linear head learn from the training images; NegLabel and MCM have the detector's
class names, NegLabel also its negative labels as they were before tuning. Settings are the
published ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from synood import scores
from synood.benchmark.protocol.evaluation import contenders, method_of
from synood.benchmark.protocol.methods import MCM, NEGLABEL
from synood.benchmark.protocol.own_sets import Measured
from synood.benchmark.systems.encoder_features import (
    CLASS_MEAN,
    LINEAR_HEAD,
    MAHALANOBIS_PLUS,
    NEAREST_IMAGE,
)
from synood.models.classifier import train_probe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    import numpy as np
    from numpy.typing import NDArray

    from synood.benchmark.protocol.methods import Method
    from synood.detector.ood_detector import OODDetector

    Score: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.float32]]

MCM_TEMPERATURE = 1.0  # MCM's own


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """Features (N, D) of the images that a detector was made from, and their classes (N,)."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]


def neglabel(detector: OODDetector, features: Mapping[str, NDArray[np.float32]]) -> list[Measured]:
    """Measure NegLabel on every set; nothing for a detector that is NegLabel itself."""
    if method_of(detector) is NEGLABEL:
        return []
    before = [one for method, one in contenders(detector) if method is NEGLABEL]
    return [_measured(NEGLABEL, one.score_features, features) for one in before]


def text_baselines(
    detector: OODDetector, features: Mapping[str, NDArray[np.float32]]
) -> list[Measured]:
    """Measure MCM on every set, and NegLabel unless the detector is NegLabel itself.

    MCM is a softmax over the classes, so with one class there is none.
    """
    names = detector.class_features
    if len(names) < 2:
        return neglabel(detector, features)

    def mcm(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return scores.mcm(scores.cosine_similarity(rows, names), MCM_TEMPERATURE)

    return [_measured(MCM, mcm, features), *neglabel(detector, features)]


def image_baselines(
    detector: OODDetector, train: TrainingImages, features: Mapping[str, NDArray[np.float32]]
) -> list[Measured]:
    """Measure 1-NN, class mean, Mahalanobis++ and a linear head, which one class does not have."""
    rows = scores.normalise(train.features)
    fitted: dict[Method, Score] = {
        NEAREST_IMAGE: scores.Neighbours.fit(rows).cosine,
        CLASS_MEAN: scores.ClassMeans.fit(rows, train.labels).cosine,
        MAHALANOBIS_PLUS: scores.MahalanobisPlus.fit(rows, train.labels).score,
    }
    if len(train.class_names) > 1:
        encoder = detector.backbone.load()
        weight, bias = train_probe(rows, train.labels, train.class_names, encoder).head
        fitted[LINEAR_HEAD] = lambda images: scores.max_log_odds(
            scores.linear(scores.normalise(images), weight, bias)
        )
    return [_measured(method, score, features) for method, score in fitted.items()]


def _measured(
    method: Method, score: Score, features: Mapping[str, NDArray[np.float32]]
) -> Measured:
    return Measured(method, {name: score(rows) for name, rows in features.items()})
