"""Contrastive training, in the style of Winkens et al.: class densities in what it learns.

The paper trains a network on two augmented views of each image beside the class names. Here two
noisy views of a feature stand for them, since the encoder stays as it is.
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

WINKENS = Method(
    "contrastive",
    "Contrastive-style (Winkens et al.)",
    "after Winkens et al., 2020, arXiv 2007.05566: on noisy views of frozen features",
    "inductive",
    (ENCODER, IMAGES),
)
WIDTH = 32  # ours: as wide as a class of a few images allows densities of
TEMPERATURE = 0.5  # SimCLR's, of the contrastive loss
NOISE, KEPT = 0.5, 0.9  # ours: a view's noise, relative to a feature's length, and what is kept
SHRINKAGE = 0.1  # ours: of a class's covariance towards a multiple of the identity


def fit_contrastive(inputs: FitInputs, seed: int) -> Fitted:
    """Learn the embedding; the score is the log density of the likeliest class."""
    images, labels = labelled(inputs.train)
    losses = Losses()
    views = Views(seed)
    embedding = learn_embedding(
        images, labels, len(inputs.class_names), WIDTH, views.loss, seed, losses
    )
    classes = [embedding(images[labels == label]) for label in np.unique(labels)]
    gaussians = [gaussian(rows) for rows in classes]

    def score(encoded: EncodedSet) -> Floats:
        return largest_log_density(embedding(encoded.features), gaussians)

    size = embedding.size + len(gaussians) * (WIDTH + WIDTH**2)
    return Fitted(score, {"loss": losses.to_json()}, size)


def gaussian(rows: Doubles) -> tuple[Doubles, Doubles, float]:
    """Mean (E,), whitening matrix (E, E) and log determinant of a class's (N, E) embeddings."""
    mean = rows.mean(axis=0)
    covariance = (rows - mean).T @ (rows - mean) / len(rows)
    level = max(float(np.trace(covariance)) / rows.shape[1], 1e-6)
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * level * np.eye(rows.shape[1])
    root = np.linalg.cholesky(shrunk)
    return mean, np.linalg.inv(root), float(2 * np.log(np.diag(root)).sum())


def largest_log_density(
    embedded: Doubles, gaussians: list[tuple[Doubles, Doubles, float]]
) -> Floats:
    """Largest log density of (N, E) over the classes' Gaussians, without its constant: (N,)."""
    densities = [
        -(((embedded - mean) @ whitening.T) ** 2).sum(axis=1) - determinant
        for mean, whitening, determinant in gaussians
    ]
    return np.asarray(np.max(densities, axis=0), np.float32)


class Views:
    """Two noisy views of each feature, and SimCLR's loss of telling pairs from strangers."""

    def __init__(self, seed: int) -> None:
        import torch

        self._generator = torch.Generator().manual_seed(seed + 1)

    def loss(self, embed: Shape, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """NT-Xent over the batch's 2 N views."""
        import torch

        both = torch.cat([self._view(images), self._view(images)])
        return nt_xent(embed(both))

    def _view(self, images: torch.Tensor) -> torch.Tensor:
        import torch

        drawn = torch.randn(images.shape, generator=self._generator)
        kept = torch.rand(images.shape, generator=self._generator) < KEPT
        noisy = images + NOISE * drawn / images.shape[1] ** 0.5
        return torch.nn.functional.normalize(noisy * kept)


def nt_xent(embedded: torch.Tensor) -> torch.Tensor:
    """SimCLR's loss (Chen et al., ICML 2020, equation 1) of 2 N views, pairs N rows apart."""
    import torch
    import torch.nn.functional as F

    unit = F.normalize(embedded)
    alike = (unit @ unit.T) / TEMPERATURE
    alike = alike.masked_fill(torch.eye(len(alike), dtype=torch.bool), -torch.inf)
    return F.cross_entropy(alike, torch.arange(len(alike)).roll(len(alike) // 2))


SYSTEMS = (System(WINKENS, fit_contrastive, seeded=True),)
