"""Guides of the synthesis: images in [0, 1] -> logits, differentiable.

Every `Classifier` is one; so is the image-text encoder, with its margin between class names and
negative labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from synood.errors import InputError
from synood.labels.imagenet import wnids_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from synood.models.classifier import Classifier
    from synood.models.clip import ImageTextEncoder
    from synood.models.loaded import Models


class Guide(Protocol):
    """The interface that guided in-painting needs."""

    def logits(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, K), differentiable; K depends on the guide."""


@dataclass(frozen=True)
class ProbeWeights:
    """A linear probe as plain data: weight (C, D) and bias (C,), float32, and C class names."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class MarginTexts:
    """The two sides of the encoder's margin as plain data: unit rows (C, D) and (M, D), float32."""

    class_features: NDArray[np.float32]
    negative_features: NDArray[np.float32]
    temperature: float


GuideSpec: TypeAlias = "ProbeWeights | MarginTexts | None"
"""What guides, as plain data: a probe, a margin, or None for the bundle's own classifier."""


GuidePreprocess: TypeAlias = Literal["own", "torchvision"]
"""How a classifier of ImageNet sees images: `GuidanceSettings.preprocess`."""


def load_guide(models: Models, spec: GuideSpec, preprocess: GuidePreprocess = "own") -> Guide:
    """Return the guide of a spec, made with the models' encoder or their classifier."""
    if isinstance(spec, MarginTexts):
        texts = spec.class_features, spec.negative_features
        return MarginGuide(models.encoder, *texts, spec.temperature)
    if isinstance(spec, ProbeWeights):
        from synood.models.classifier import ProbeClassifier

        return ProbeClassifier(models.encoder, spec.weight, spec.bias, spec.class_names)
    classifier = models.classifier
    if classifier is None:
        raise InputError(f"bundle {models.bundle.name!r}: has no classifier to guide with")
    return preprocessed(classifier, preprocess)


def preprocessed(classifier: Classifier, preprocess: GuidePreprocess) -> Classifier:
    """Return a classifier that guides; torchvision's preprocessing is for ImageNet's alone."""
    from synood.models.classifier import TransformersClassifier

    if (
        preprocess == "torchvision"
        and isinstance(classifier, TransformersClassifier)
        and wnids_of(classifier.class_names) is not None
    ):
        return classifier.preprocessed_as_torchvision()
    return classifier


class MarginGuide:
    """The encoder as a guide with two logits: class names against negative labels.

    Their softmax is the score of equation 2 without groups; their difference is the encoder's
    margin. `class_features` are (C, D) and `negative_features` (M, D), float32 and of unit length;
    `temperature` is the score's. An encoder's logit bias would cancel out. [ours]
    """

    def __init__(
        self,
        encoder: ImageTextEncoder,
        class_features: NDArray[np.float32],
        negative_features: NDArray[np.float32],
        temperature: float,
    ) -> None:
        texts = (class_features, negative_features)
        if any(rows.shape[1:] != (encoder.dim,) or not len(rows) for rows in texts):
            raise InputError(
                f"margin: class features {class_features.shape} and negative features "
                f"{negative_features.shape} are not rows of the encoder's {encoder.dim} numbers"
            )
        self._encoder = encoder
        self._texts = [torch.from_numpy(rows) for rows in texts]
        self._temperature = temperature

    def logits(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, 2): log sum exp(cosine / temperature) over each side."""
        features = F.normalize(self._encoder.encode_pixels(pixels), dim=-1)
        cosines = (features @ texts.to(features).T for texts in self._texts)
        sides = [torch.logsumexp(one / self._temperature, dim=1) for one in cosines]
        return torch.stack(sides, dim=1)
