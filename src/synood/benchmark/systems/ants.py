"""ANTS-style: descriptions of images which seem OOD become negative labels during the stream.

The paper asks a multimodal language model for a sentence on each such image, and for names of
things that look like the classes predicted most. Here the bundle's describer describes the images;
there are no lookalikes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.benchmark.protocol.methods import ENCODER, NAMES, WORDS, Method
from synood.benchmark.protocol.system import FittedStream, StreamSystem
from synood.benchmark.systems._described import describe_set, other_names, split_names
from synood.benchmark.systems._mining import mine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.systems._mining import Mined

    Floats = NDArray[np.float32]

ANTS = Method(
    "ants",
    "ANTS-style",
    "after Zhu et al., CVPR 2026, arXiv 2509.03951: the describer in place of a language model",
    "test-time",
    (ENCODER, NAMES, WORDS, "a describer", "the stream of test images"),
)
# the authors' ants_postprocessor.py:40-44 and ants/state.py:15
BATCH = 256
FIRST_THRESHOLD = 0.8
ENOUGH = 20  # images that seem OOD before they are described; theirs is 200
GROUP = 100  # labels in a group: 10,000 in 100 groups
LIMIT = 10_000  # labels
UPDATES = 20
ETA = 0.5  # which quantile of low shares the next threshold is


def fit_ants(inputs: FitInputs, seed: int) -> FittedStream:
    """Mine as NegLabel, with its choices on validation images; labels are added to these."""
    mined = mine(inputs, inputs.recipe.mining)
    describer = inputs.models.describer
    chosen = {**mined.chosen, "negatives": len(mined.negatives), "describer": describer.id}
    return FittedStream(Ants(inputs, mined), chosen, mined.negatives.size)


class Ants:
    """NegLabel's score against mined labels and names that describe images which seem OOD."""

    batch = BATCH

    def __init__(self, inputs: FitInputs, mined: Mined) -> None:
        self._inputs = inputs
        self._classes = scores.normalise(mined.classes)
        self._mined = scores.normalise(mined.negatives)
        self._temperature, self._seed = mined.score.temperature, mined.score.seed

    def score_stream(self, stream: EncodedSet, order: NDArray[np.int64]) -> Floats:
        """Score from the mined labels: (N,) log odds; see `StreamScorer`."""
        images = scores.normalise(stream.features)
        known = images @ self._classes.T
        base = scores.share(self._odds(known, images, self._mined)).astype(np.float64)
        labels, threshold, updates = self._mined, FIRST_THRESHOLD, 0
        waiting: list[int] = []
        found = np.empty(len(images), np.float32)
        for start in range(0, len(order), self.batch):
            rows = order[start : start + self.batch]
            if updates < UPDATES:
                waiting += [int(row) for row in rows if base[row] < threshold]
            if updates < UPDATES and len(waiting) > ENOUGH:
                threshold = next_threshold(base[order[: start + len(rows)]])
                added = self._described(stream.take(waiting), known[waiting].argmax(axis=1))
                labels = np.concatenate([added, labels])[-LIMIT:]
                waiting, updates = [], updates + 1
            found[rows] = self._odds(known[rows], images[rows], labels)
        return found

    def _odds(self, known: Floats, images: Floats, labels: Floats) -> Floats:
        """Log odds (B,) of the classes against labels (M, D) in groups of `GROUP`."""
        groups = max(1, len(labels) // GROUP)
        unknown = images @ labels.T
        return scores.neglabel_log_odds(known, unknown, self._temperature, groups, self._seed)

    def _described(self, images: EncodedSet, predicted: NDArray[np.int64]) -> Floats:
        """Return the unit features (K, D) of the names that describe some images."""
        classes = self._inputs.class_names
        likeliest = [classes[label] for label in predicted]
        texts = describe_set(self._inputs.models.describer, images, likeliest)
        names = sorted({name for text in texts for name in split_names(text)})
        return self._features(other_names(names, classes))

    def _features(self, names: Sequence[str]) -> Floats:
        if not names:
            return self._mined[:0]
        return scores.normalise(self._inputs.name_features(names))


def next_threshold(shares: NDArray[np.float64]) -> float:
    """Return the `ETA` quantile of the low shares so far (ants/ens.py:9-30).

    Low are those below the tenth of [0, 1] at whose end the histogram changes most.
    """
    edges = np.arange(0.0, 1.1, 0.1)
    counts, _ = np.histogram(shares, edges)
    low = shares[shares < edges[np.argmax(np.abs(np.diff(counts))) + 1]]
    return float(np.quantile(low if len(low) else shares, ETA))


SYSTEMS = (StreamSystem(ANTS, fit_ants),)
