"""ID-like-style: OOD features learned from the parts of training images that lack their class.

The paper learns prompts through the text tower. Here the features themselves are learned, and one
shift of all class names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.benchmark.protocol.baselines import TEMPERATURES, neglabel_scorer
from synood.benchmark.protocol.methods import ENCODER, IMAGES, NAMES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.benchmark.systems._places import learn_texts
from synood.benchmark.systems._training import Losses
from synood.settings import ScoreSettings

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs

    Floats = NDArray[np.float32]

IDLIKE = Method(
    "id-like",
    "ID-like-style",
    "after Bai et al., CVPR 2024, arXiv 2311.15243: OOD features from places without the class",
    "inductive",
    (f"{ENCODER} with features of single places", NAMES, IMAGES),
)
OUTLIERS = 100  # the paper's number of OOD prompts
APART = 0.1  # ours: weight of keeping them apart


def fit_idlike(inputs: FitInputs, seed: int) -> Fitted:
    """Learn the shift and the OOD features; choose the temperature on validation images.

    The score is the classes' part of one softmax over class names and OOD features.
    """
    losses = Losses()
    names, outliers = learn_texts(inputs, seed, losses, OUTLIERS, 0, idlike_loss)
    options = [
        Option(
            {"temperature": t, "loss": losses.to_json()},
            neglabel_scorer(names, outliers, ScoreSettings(temperature=t, groups=1)),
        )
        for t in TEMPERATURES
    ]
    return best_of(inputs, options, outliers.size + outliers.shape[1])


def idlike_loss(
    near: torch.Tensor,
    far: torch.Tensor,
    labels: torch.Tensor,
    names: torch.Tensor,
    outliers: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """Cross-entropy of near places with the class, of far ones with any outlier, and the overlap.

    Unit places (B, K, D), names (C, D) and outliers (M, D); the overlap is the mean squared cosine
    between different outliers.
    """
    import torch
    import torch.nn.functional as F

    texts = torch.cat([names, outliers])
    inside = scale * near @ texts.T
    wanted = labels[:, None].expand(inside.shape[:2])
    right = F.cross_entropy(inside.flatten(0, 1), wanted.flatten())
    chances = torch.log_softmax(scale * far @ texts.T, dim=2)[:, :, len(names) :]
    beyond = -torch.logsumexp(chances, dim=2).mean()
    alike = outliers @ outliers.T
    off = alike[~torch.eye(len(outliers), dtype=torch.bool)]
    loss: torch.Tensor = right + beyond + APART * off.square().mean()
    return loss


SYSTEMS = (System(IDLIKE, fit_idlike, seeded=True),)
