"""Negative labels that grow during the stream by texts that mean images which seem OOD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synood import scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.benchmark.systems._inversion import Inverter

    Floats = NDArray[np.float32]

BATCH = 256
GROUPS = 5
LIMIT = 2_000  # texts added to the negatives


@dataclass(frozen=True, eq=False)
class ChosenLabels:
    """Unit features of class names (C, D), negatives (M, D) and the classes' images (C, D)."""

    classes: Floats
    negatives: Floats
    proxies: Floats
    temperature: float


class GrowingLabels:
    """NegLabel's score, with more negatives after every batch that has images which seem OOD.

    An image whose share is below `threshold` is inverted into a text. Texts that are farther from
    the images of every class than the class's name are kept, the best `LIMIT` by the mean of the
    differences, and the batch is scored again. With `balanced` the negatives weigh as much as the
    classes, whatever their number.
    """

    batch = BATCH

    def __init__(
        self, labels: ChosenLabels, inverter: Inverter, threshold: float, *, balanced: bool
    ) -> None:
        self._labels, self._inverter = labels, inverter
        self._least = float(np.log(threshold / (1 - threshold)))
        self._balanced = balanced
        self._own = np.einsum("cd,cd->c", labels.classes, labels.proxies)

    def score_stream(self, stream: EncodedSet, order: NDArray[np.int64]) -> Floats:
        """Score from the chosen negatives: (N,) log odds; see `StreamScorer`."""
        images = scores.normalise(stream.features)
        bank = np.zeros((0, images.shape[1]), np.float32)
        values = np.zeros(0, np.float32)
        found = np.empty(len(images), np.float32)
        for start in range(0, len(order), self.batch):
            rows = order[start : start + self.batch]
            odds = self.odds(images[rows], bank)
            seeming = rows[odds < self._least]
            if len(seeming):
                bank, values = self.grown(bank, values, self._inverter(images[seeming]))
                odds = self.odds(images[rows], bank)
            found[rows] = odds
        return found

    def odds(self, images: Floats, bank: Floats) -> Floats:
        """Log odds (B,) of the classes against the negatives and the texts (K, D) added."""
        labels, temperature = self._labels, self._labels.temperature
        known = scores.cosine_similarity(images, labels.classes).astype(np.float64)
        unknown = images @ np.concatenate([labels.negatives, bank]).T
        negatives = unknown.astype(np.float64)
        if self._balanced:
            groups = 1 if negatives.shape[1] < GROUPS else GROUPS
            size = negatives.shape[1] // groups
            negatives += temperature * np.log(known.shape[1] / size)
        return scores.neglabel_log_odds(known, negatives, temperature, GROUPS)

    def grown(self, bank: Floats, values: Floats, texts: Floats) -> tuple[Floats, Floats]:
        """Add the texts (B, D) that keep away from the classes; the best `LIMIT` are left."""
        behind = self._own - texts @ self._labels.proxies.T
        kept = (behind > 0).all(axis=1)
        bank = np.concatenate([bank, texts[kept]])
        values = np.concatenate([values, behind[kept].mean(axis=1)])
        best = np.argsort(-values, kind="stable")[:LIMIT]
        return bank[best], values[best]
