"""AdaNeg: a test-time system whose negative labels adapt to the images seen so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.benchmark.protocol.methods import ENCODER, NAMES, WORDS, Method
from synood.benchmark.protocol.system import FittedStream, StreamSystem
from synood.benchmark.systems._mining import mine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.systems._mining import Mined

    Floats = NDArray[np.float32]

ADANEG = Method(
    "adaneg",
    "AdaNeg",
    "Zhang and Zhang, NeurIPS 2024, arXiv 2410.20149, images one at a time; β 5.5 and ten images a "
    "label as in its script (its code rounds to 5 and holds nine)",
    "test-time",
    (ENCODER, NAMES, WORDS, "the stream of test images"),
)
# OpenOOD-VLM, scripts/ood/adaneg/imagenet.sh: thres .5 and gap .5 make .75 and .25
KNOWN, UNKNOWN = 0.75, 0.25
MEMORY = 10  # features of each label, memleng; the code counts the text among them and holds 9
RELEASED_MEMORY, RELEASED_SHARPNESS, RELEASED_BATCH = 9, 5.0, 256  # what the code really runs
SHARPNESS = 5.5  # beta; the code runs int(beta) = 5, ttaprompt_postprocessor.py:669
STATIC_WEIGHT = 0.1  # lambdaval
GROUPS = 5  # group_num


RELEASED = Method(
    "adaneg-released",
    "AdaNeg (released)",
    "Zhang and Zhang, NeurIPS 2024, arXiv 2410.20149, as its code runs: β 5, nine images a label, "
    "batches of 256 stored before they are scored",
    "test-time",
    ADANEG.needs,
)


def fit_adaneg(inputs: FitInputs, seed: int) -> FittedStream:
    """Mine as NegLabel, with its choices on validation images; the rest is as published."""
    return _fit(inputs, MEMORY, SHARPNESS, 1)


def fit_released(inputs: FitInputs, seed: int) -> FittedStream:
    """The same with the constants that the authors' code runs with."""
    return _fit(inputs, RELEASED_MEMORY, RELEASED_SHARPNESS, RELEASED_BATCH)


def _fit(inputs: FitInputs, size: int, sharpness: float, batch: int) -> FittedStream:
    mined = mine(inputs, inputs.recipe.mining)
    chosen = {**mined.chosen, "negatives": len(mined.negatives), "groups": GROUPS}
    return FittedStream(AdaNeg(mined, size, sharpness, batch), chosen, mined.negatives.size)


class AdaNeg:
    """S = S_adaptive + 0.1 S_static, both NegLabel's score, of adaptive proxies and of the labels.

    An image is stored with its most likely label if NegLabel is confident, and a batch of images
    is stored before it is scored.
    """

    def __init__(self, mined: Mined, size: int, sharpness: float, batch: int) -> None:
        self.batch = batch
        self._size, self._sharpness = size, sharpness
        self._texts = np.concatenate(
            [scores.normalise(mined.classes), scores.normalise(mined.negatives)]
        )
        self._classes = len(mined.classes)
        self._temperature = mined.score.temperature
        self._seed = mined.score.seed

    def score_stream(self, stream: EncodedSet, order: NDArray[np.int64]) -> Floats:
        """Score from an empty memory: (N,) in [0, 1.1]; see `StreamScorer`."""
        images = scores.normalise(stream.features)
        memory = Memory(self._texts, self._size, self._sharpness)
        found = np.empty(len(images), np.float32)
        for start in range(0, len(order), self.batch):
            arrived = []
            for row in order[start : start + self.batch]:
                cosines = images[row] @ self._texts.T
                static = self._share(cosines)
                label = self._label(cosines, static)
                if label is not None:
                    memory.store(label, images[row], self._entropy(cosines, label))
                arrived.append((row, cosines, static))
            for row, cosines, static in arrived:
                adaptive = self._share(memory.cosines(images[row], cosines))
                found[row] = adaptive + STATIC_WEIGHT * static
        return found

    def _share(self, cosines: Floats) -> float:
        """NegLabel's score of one image from its cosines (C + M,)."""
        known, unknown = np.split(cosines[None], [self._classes], axis=1)
        return float(scores.neglabel(known, unknown, self._temperature, GROUPS, self._seed)[0])

    def _label(self, cosines: Floats, static: float) -> int | None:
        """Return the most likely class or negative label, None if NegLabel is not confident."""
        if static > KNOWN:
            return int(cosines[: self._classes].argmax())
        if static < UNKNOWN:
            return self._classes + int(cosines[self._classes :].argmax())
        return None

    def _entropy(self, cosines: Floats, label: int) -> float:
        """Entropy of the softmax over the labels of the same kind."""
        known = label < self._classes
        alike = cosines[: self._classes] if known else cosines[self._classes :]
        powers = np.exp((alike.astype(np.float64) - alike.max()) / self._temperature)
        shares = powers / powers.sum()
        return float(-(shares * np.log(shares + 1e-8)).sum())


class Memory:
    """Up to `size` image features of each label (L, D), those of least entropy.

    `sharpness` is beta, how much more images count that are like the one compared.
    """

    def __init__(self, texts: Floats, size: int = MEMORY, sharpness: float = SHARPNESS) -> None:
        self._texts = texts
        self._size, self._sharpness = size, sharpness
        self._rows: dict[int, int] = {}  # label -> row of the two arrays below
        self._parts = np.zeros((0, 1 + size, texts.shape[1]), np.float32)  # the text, images
        self._doubts = np.zeros((0, size))  # infinite where no image is

    def store(self, label: int, image: Floats, doubt: float) -> None:
        """Store a feature (D,); in a full label it replaces that of highest entropy, if higher."""
        if label not in self._rows:
            self._rows[label] = len(self._rows)
            parts = np.zeros((1, *self._parts.shape[1:]), np.float32)
            parts[0, 0] = self._texts[label]
            self._parts = np.concatenate([self._parts, parts])
            self._doubts = np.concatenate([self._doubts, np.full((1, self._size), np.inf)])
        row = self._rows[label]
        worst = int(self._doubts[row].argmax())
        if doubt < self._doubts[row, worst]:
            self._parts[row, 1 + worst] = image
            self._doubts[row, worst] = doubt

    def cosines(self, image: Floats, static: Floats) -> Floats:
        """Cosines (L,) of an image (D,) with each label's proxy; `static` are those with the texts.

        A proxy is the sum of text and stored features, weighted by exp(-beta (1 - cosine)) with
        this image (ttaprompt_postprocessor.py); without stored features it is the text.
        """
        adapted = static.copy()
        if self._rows:
            weights = np.exp(-self._sharpness * (1 - self._parts @ image))
            proxies = np.einsum("rl,rld->rd", weights, self._parts)
            adapted[list(self._rows)] = proxies @ image / np.linalg.norm(proxies, axis=1)
        return adapted


SYSTEMS = (StreamSystem(ADANEG, fit_adaneg), StreamSystem(RELEASED, fit_released))
