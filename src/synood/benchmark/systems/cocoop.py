"""CoCoOp-style: a network shifts the class names' features for each image.

The paper's network shifts the vectors before a name, which takes a run of the text tower for each
image and class: hours on a small machine. Here it shifts the text features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from synood import scores
from synood.benchmark.protocol.baselines import MCM_TEMPERATURES
from synood.benchmark.protocol.methods import ENCODER, IMAGES, NAMES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.benchmark.systems._training import Losses, Schedule, few_shots

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.system import Scorer

    Floats = NDArray[np.float32]

COCOOP = Method(
    "cocoop",
    "CoCoOp-style",
    "after Zhou et al., CVPR 2022, arXiv 2203.05557: names' features moved by each image",
    "inductive",
    (ENCODER, NAMES, IMAGES),
)
NARROWING = 16  # CoCoOp's network has a sixteenth of the width
SCHEDULE = Schedule(epochs=50, batch_size=128, learning_rate=2e-3, min_steps=200)  # ours


def fit_cocoop(inputs: FitInputs, seed: int) -> Fitted:
    """Learn the network that shifts the names; choose MCM's temperature on validation images."""
    losses = Losses()
    images, labels, _ = few_shots(inputs.train, seed)
    mover = MetaNet.fit(
        images, labels, inputs.class_features, inputs.encoder.logit_scale, seed, losses
    )

    def scorer(temperature: float) -> Scorer:
        return lambda encoded: scores.mcm(mover.cosines(encoded.features), temperature)

    options = [
        Option({"temperature": t, "loss": losses.to_json()}, scorer(t)) for t in MCM_TEMPERATURES
    ]
    return best_of(inputs, options, mover.size)


@dataclass(frozen=True, eq=False)
class MetaNet:
    """Two narrow layers from an image to the vector that is added to every name (C, D)."""

    names: Floats
    layers: tuple[Floats, Floats, Floats, Floats]  # (H, D), (H,), (D, H), (D,)

    @property
    def size(self) -> int:
        """Parameter count."""
        return sum(layer.size for layer in self.layers)

    def cosines(self, features: Floats) -> Floats:
        """Cosines (N, C) of images (N, D) with the names shifted for each image."""
        import torch

        images = torch.from_numpy(scores.normalise(features))
        layers = [torch.from_numpy(layer) for layer in self.layers]
        return moved_cosines(images, torch.from_numpy(self.names), layers).numpy()

    @classmethod
    def fit(
        cls,
        images: Floats,
        labels: NDArray[np.int64],
        names: Floats,
        scale: float,
        seed: int,
        losses: Losses,
    ) -> MetaNet:
        """Train on unit images (N, D) and their classes (N,); it starts without a shift."""
        import torch

        from synood.tuning.loop import minimise

        rows, targets, texts = (torch.from_numpy(array) for array in (images, labels, names))
        dim = rows.shape[1]
        hidden = max(1, dim // NARROWING)
        drawn = torch.randn(hidden, dim, generator=torch.Generator().manual_seed(seed))
        layers = [
            drawn * (2 / dim) ** 0.5,
            torch.zeros(hidden),
            torch.zeros(dim, hidden),
            torch.zeros(dim),
        ]
        for layer in layers:
            layer.requires_grad_()

        def loss_of(batch: torch.Tensor) -> torch.Tensor:
            logits = scale * moved_cosines(rows[batch], texts, layers)
            return torch.nn.functional.cross_entropy(logits, targets[batch])

        adam = torch.optim.Adam(layers, lr=SCHEDULE.learning_rate)
        minimise(loss_of, adam, len(rows), SCHEDULE, seed, losses)
        a, b, c, d = (layer.detach().numpy() for layer in layers)
        return cls(names, (a, b, c, d))


def moved_cosines(
    images: torch.Tensor, names: torch.Tensor, layers: list[torch.Tensor]
) -> torch.Tensor:
    """Cosines (N, C) of unit images with names + move(image), without an (N, C, D) array."""
    import torch

    hidden = torch.relu(images @ layers[0].T + layers[1])
    moves = hidden @ layers[2].T + layers[3]  # (N, D)
    along = images @ names.T + (images * moves).sum(1, keepdim=True)
    lengths = names.square().sum(1) + 2 * moves @ names.T + moves.square().sum(1, keepdim=True)
    return along / lengths.clamp_min(1e-12).sqrt()


SYSTEMS = (System(COCOOP, fit_cocoop, seeded=True),)
