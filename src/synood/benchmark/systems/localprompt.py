"""Local-Prompt-style: names and negatives for single places, beside the names for the whole image.

The paper learns local prompts through the text tower. Here the negatives' features themselves are
learned, and one shift of all class names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from synood import scores
from synood.benchmark.protocol.baselines import MCM_TEMPERATURES
from synood.benchmark.protocol.methods import ENCODER, IMAGES, NAMES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.benchmark.systems._places import learn_texts
from synood.benchmark.systems._training import Losses

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.system import Scorer

    Floats = NDArray[np.float32]

LOCALPROMPT = Method(
    "local-prompt",
    "Local-Prompt-style",
    "after Zeng et al., ICLR 2025, arXiv 2409.04796: features in place of local prompts",
    "inductive",
    (f"{ENCODER} with features of single places", NAMES, IMAGES),
)
NEGATIVES = 300  # the paper's number of local negative prompts
BESIDE, APART = 5.0, 0.5  # lambda_value and div_value of the authors' train.py
TOP = 10  # places and classes that are averaged, of 196 places; fewer where there are fewer


def fit_localprompt(inputs: FitInputs, seed: int) -> Fitted:
    """Learn names and negatives of places; choose the temperature on validation images."""
    losses = Losses()
    local, negatives = learn_texts(inputs, seed, losses, NEGATIVES, -1, localprompt_loss)
    matching = LocalMatching(inputs.class_features, local, negatives)
    options = [
        Option({"temperature": t, "loss": losses.to_json()}, matching.scorer(place))
        for place, t in enumerate(MCM_TEMPERATURES)
    ]
    return best_of(inputs, options, negatives.size + negatives.shape[1])


def local_score(places: Floats, local: Floats, negatives: Floats, temperature: float) -> Floats:
    """Mean of the `TOP` largest class probabilities over places and classes: (B,).

    Places (B, L, D) are compared with names (C, D) and negatives (M, D) in one softmax
    (localprompt.py:581-584).
    """
    texts = np.concatenate([local, negatives])
    flat = scores.cosine_similarity(places.reshape(-1, places.shape[2]), texts)
    powers = np.exp(flat.astype(np.float64) / temperature)
    shares = powers[:, : len(local)] / powers.sum(axis=1, keepdims=True)
    rows = shares.reshape(len(places), -1)
    count = min(TOP, places.shape[1])
    top = np.partition(rows, rows.shape[1] - count, axis=1)[:, rows.shape[1] - count :]
    return np.asarray(top.mean(axis=1), np.float32)


class LocalMatching:
    """MCM of the whole image plus `local_score`, at every temperature; places are read once."""

    def __init__(self, classes: Floats, local: Floats, negatives: Floats) -> None:
        self._classes, self._local, self._negatives = classes, local, negatives
        self._seen: WeakKeyDictionary[EncodedSet, Floats] = WeakKeyDictionary()

    def scorer(self, place: int) -> Scorer:
        """Return the scorer at one of `MCM_TEMPERATURES`."""
        return lambda encoded: self._scores(encoded)[:, place]

    def _scores(self, encoded: EncodedSet) -> Floats:
        if encoded not in self._seen:
            whole = scores.cosine_similarity(encoded.features, self._classes)
            parts = []
            for places in encoded.patches():
                found = [
                    local_score(places, self._local, self._negatives, t) for t in MCM_TEMPERATURES
                ]
                parts.append(np.stack(found, axis=1))
            globally = np.stack([scores.mcm(whole, t) for t in MCM_TEMPERATURES], axis=1)
            self._seen[encoded] = globally + np.concatenate(parts)
        return self._seen[encoded]


def localprompt_loss(
    near: torch.Tensor,
    far: torch.Tensor,
    labels: torch.Tensor,
    names: torch.Tensor,
    negatives: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """Loss of an image's near and far places, each taken together (localprompt.py:372-413).

    Near places: minus the log of the own class's part in the sum over places, names and negatives;
    far places: the same of the negatives' part; and the mean cosine between negatives.
    """
    import torch

    def logits(places: torch.Tensor) -> torch.Tensor:
        return scale * places @ torch.cat([names, negatives]).T

    inside, outside = logits(near), logits(far)
    own = inside.gather(2, labels[:, None, None].expand(-1, inside.shape[1], 1))
    right = torch.logsumexp(inside.flatten(1), 1) - torch.logsumexp(own.flatten(1), 1)
    beyond = torch.logsumexp(outside.flatten(1), 1) - torch.logsumexp(
        outside[:, :, len(names) :].flatten(1), 1
    )
    alike = negatives @ negatives.T
    off = alike[~torch.eye(len(negatives), dtype=torch.bool)]
    loss: torch.Tensor = right.mean() + BESIDE * beyond.mean() + APART * off.mean()
    return loss


SYSTEMS = (System(LOCALPROMPT, fit_localprompt, seeded=True),)
