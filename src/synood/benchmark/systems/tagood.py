"""TagOOD-style: centres of each class in a learned embedding, kept as moving averages.

The paper cuts the objects that a tagger (RAM) names out of its tokens and trains a transformer on
them. Here the embedding is learned on the image-text encoder's features of whole images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood.benchmark.protocol.methods import ENCODER, IMAGES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._embedding import learn_embedding
from synood.benchmark.systems._training import Losses, labelled

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.systems._embedding import Shape

    Floats = NDArray[np.float32]

TAGOOD = Method(
    "tagood",
    "TagOOD-style",
    "after Li et al., ACM MM 2024, arXiv 2408.15566: class centres on frozen features, no tagger",
    "inductive",
    (ENCODER, IMAGES),
)
PATTERNS = 4  # centres of each class: num_pattern of configs/classifier_config.json
WIDTH = 64  # ours: 512 in theirs
NEAR = 0.1  # weight of the distance to the centres: classifier_training_ema.py:154
LASTING = 0.99  # theirs is 0.999, over a hundred times as many steps


def fit_tagood(inputs: FitInputs, seed: int) -> Fitted:
    """Learn the embedding and its centres; the score is the largest mean cosine with a centre."""
    images, labels = labelled(inputs.train)
    losses = Losses()
    centres = MovingCentres(len(inputs.class_names), seed)
    embedding = learn_embedding(
        images, labels, len(inputs.class_names), WIDTH, centres.loss, seed, losses
    )
    present = np.unique(labels)
    kept = centres.rows.numpy().astype(np.float64)[present]

    def score(encoded: EncodedSet) -> Floats:
        return largest_mean_cosine(embedding(encoded.features), kept)

    return Fitted(score, {"loss": losses.to_json()}, embedding.size + kept.size)


def largest_mean_cosine(embedded: NDArray[np.float64], centres: NDArray[np.float64]) -> Floats:
    """Cosines of (N, E) with (C, K, E / K) centres pattern by pattern, their mean, the largest.

    ood_inference_distance.py:139-146 without the tagger's confidence.
    """
    parts = embedded.reshape(len(embedded), *centres.shape[1:])
    parts = parts / np.maximum(np.linalg.norm(parts, axis=2, keepdims=True), 1e-8)
    unit = centres / np.maximum(np.linalg.norm(centres, axis=2, keepdims=True), 1e-8)
    cosines = np.einsum("nkd,ckd->nc", parts, unit) / centres.shape[1]
    return np.asarray(cosines.max(axis=1), np.float32)


class MovingCentres:
    """Centres (C, K, E / K) that follow the embeddings of their class: EMALoss of the authors.

    A step moves each centre once for each image of its class in the batch.
    """

    def __init__(self, classes: int, seed: int) -> None:
        import torch

        generator = torch.Generator().manual_seed(seed + 1)
        self.rows = torch.randn(classes, PATTERNS, WIDTH // PATTERNS, generator=generator)

    def loss(self, embed: Shape, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean squared distance to the own centres, summed over patterns; moves the centres."""
        parts = embed(images).reshape(len(images), *self.rows.shape[1:])
        own = self.rows[labels]
        loss = (parts - own).square().mean(2).sum(1).mean()
        for image, label in zip(parts.detach(), labels.tolist(), strict=True):
            self.rows[label] = LASTING * self.rows[label] + (1 - LASTING) * image
        return NEAR * loss


SYSTEMS = (System(TAGOOD, fit_tagood, seeded=True),)
