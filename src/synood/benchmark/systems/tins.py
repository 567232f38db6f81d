"""TINS: texts that mean images which seem OOD, learned away from the classes, as its code tells."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.benchmark.protocol.methods import IMAGES, NAMES, WORDS, Method
from synood.benchmark.protocol.system import FittedStream, StreamSystem
from synood.benchmark.systems._contexts import TOWER
from synood.benchmark.systems._growing import GrowingLabels
from synood.benchmark.systems._inversion import END, PROMPT, Inversion, Inverter, inverter_of
from synood.benchmark.systems.interneg_stream import choose_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.models.contexts import ContextEncoder

    Floats = NDArray[np.float32]

TINS = Method(
    "tins",
    "TINS",
    "Yang et al., 2026, arXiv 2605.10756, after its code, without its buffer of dropped texts",
    "test-time",
    (TOWER, NAMES, WORDS, IMAGES, "the stream of test images"),
)
# the authors' eval_tins_w_init.py and run_eval_tins_w_init_backbones.sh
THRESHOLD = 0.3
INVERSION = Inversion(steps=30, repelling_weight=0.3)


def fit_tins(inputs: FitInputs, seed: int) -> FittedStream:
    """Choose words and temperature as InterNeg; the rest is as published."""
    from synood.models.contexts import context_encoder  # loads torch

    encoder = context_encoder(inputs.encoder)
    labels, rows, chosen = choose_labels(inputs)
    words = tuple(inputs.words.words[row].text for row in rows)

    def make() -> Inverter:
        prompts = scores.normalise(inputs.texts([f"{PROMPT} {word}{END}" for word in words]))
        start = WordStart(encoder, words, prompts, labels.proxies)
        return Inverter(encoder, INVERSION, start, labels.proxies)

    scorer = GrowingLabels(labels, inverter_of(inputs, TINS.name, make), THRESHOLD, balanced=True)
    return FittedStream(scorer, chosen, labels.negatives.size + labels.proxies.size)


@dataclass(frozen=True, eq=False)
class WordStart:
    """Start from the negative word whose prompt has the least loss, its last token learned."""

    encoder: ContextEncoder
    words: Sequence[str]
    prompts: Floats  # (M, D) unit features
    proxies: Floats  # (C, D)

    @cached_property
    def _beside(self) -> Floats:
        """Loss (M,) of each prompt but for its cosine with the image."""
        away = (1 + self.prompts @ self.proxies.T).mean(axis=1)
        losses: Floats = 1 + np.float32(INVERSION.repelling_weight) * away
        return losses

    def __call__(self, image: Floats) -> torch.Tensor:
        """See `Start`."""
        losses = self._beside - self.prompts @ image
        return self.encoder.token_embeddings(f"{PROMPT} {self.words[int(losses.argmin())]}").cpu()


SYSTEMS = (StreamSystem(TINS, fit_tins),)
