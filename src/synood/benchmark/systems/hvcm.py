"""HVCM-style: a mixture of Gaussians for each class, one of each group of learned attributes.

The paper learns the attributes with the network, by self-distillation. Here they are learned on
the image-text encoder's features, which stay as they are.
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
    Doubles = NDArray[np.float64]

HVCM = Method(
    "hvcm",
    "HVCM-style",
    "after Li et al., ICCV 2023, arXiv 2408.15580: attributes learned on frozen features",
    "inductive",
    (ENCODER, IMAGES),
)
GROUPS, ATTRIBUTES = 8, 8  # ours; the paper has 8,192 attributes
MATCHED = 0.1  # ours: weight of the match with the class's mean attributes
LASTING = 0.9  # of those means, from step to step
RIDGE = 1e-3  # added to every variance of an attribute, which lies in [0, 1]


def fit_hvcm(inputs: FitInputs, seed: int) -> Fitted:
    """Learn the attributes, and a Gaussian of each class and group; score the likeliest class."""
    images, labels = labelled(inputs.train)
    losses = Losses()
    stored = StoredAttributes(len(inputs.class_names))
    embedding = learn_embedding(
        images,
        labels,
        len(inputs.class_names),
        GROUPS * ATTRIBUTES,
        stored.loss,
        seed,
        losses,
        shape=in_groups,
    )
    present = np.unique(labels)
    own = [attributes_of(embedding(images[labels == label])) for label in present]
    means = np.stack([rows.mean(axis=0) for rows in own])
    variances = np.stack([rows.var(axis=0) for rows in own]) + RIDGE

    def score(encoded: EncodedSet) -> Floats:
        return likeliest_class(attributes_of(embedding(encoded.features)), means, variances)

    return Fitted(score, {"loss": losses.to_json()}, embedding.size + 2 * means.size)


def likeliest_class(attributes: Doubles, means: Doubles, variances: Doubles) -> Floats:
    """Largest log density over classes of (N, G, A) attributes: (N,).

    A class's density is the mean over the groups of a Gaussian with diagonal covariance; `means`
    and `variances` are (C, G, A).
    """
    found = np.full(len(attributes), -np.inf)
    for mean, variance in zip(means, variances, strict=True):
        squared = ((attributes - mean) ** 2 / variance).sum(axis=2)
        logs = -0.5 * (squared + np.log(2 * np.pi * variance).sum(axis=1))
        top = logs.max(axis=1)
        density = top + np.log(np.exp(logs - top[:, None]).mean(axis=1))
        found = np.maximum(found, density)
    return found.astype(np.float32)


def attributes_of(embedded: Doubles) -> Doubles:
    """Softmax within each group: (N, G * A) -> (N, G, A)."""
    groups = embedded.reshape(len(embedded), GROUPS, ATTRIBUTES)
    powers = np.exp(groups - groups.max(axis=2, keepdims=True))
    shares: Doubles = powers / powers.sum(axis=2, keepdims=True)
    return shares


def in_groups(embedded: torch.Tensor) -> torch.Tensor:
    """Do the same in training, flat again: (N, G * A) -> (N, G * A)."""
    groups = embedded.reshape(len(embedded), GROUPS, ATTRIBUTES)
    return groups.softmax(dim=2).flatten(1)


class StoredAttributes:
    """The mean attributes (C, G * A) of each class so far, even at the start."""

    def __init__(self, classes: int) -> None:
        import torch

        self.rows = torch.full((classes, GROUPS * ATTRIBUTES), 1 / ATTRIBUTES)

    def loss(self, embed: Shape, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of the stored attributes with the images' own; updates what is stored."""
        attributes = embed(images)
        loss = -(self.rows[labels] * attributes.clamp_min(1e-8).log()).sum(1).mean() / GROUPS
        for label in sorted(set(labels.tolist())):
            mean = attributes.detach()[labels == label].mean(0)
            self.rows[label] = LASTING * self.rows[label] + (1 - LASTING) * mean
        return MATCHED * loss


SYSTEMS = (System(HVCM, fit_hvcm, seeded=True),)
