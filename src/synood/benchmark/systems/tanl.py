"""TANL: a test-time system that selects negative labels by the activations of images so far."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from synood import scores
from synood.benchmark.protocol.baselines import negatives_of_share
from synood.benchmark.protocol.methods import ENCODER, NAMES, WORDS, Method
from synood.benchmark.protocol.system import FittedStream, StreamSystem
from synood.benchmark.systems._mining import mine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.benchmark.protocol.fit_inputs import FitInputs

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]

TANL = Method(
    "tanl",
    "TANL",
    "Zhang et al., CVPR 2026, arXiv 2603.25250, after its code; images one at a time, so α is 0.95",
    "test-time",
    (ENCODER, NAMES, WORDS, "the stream of test images"),
)
RELEASED = Method(
    "tanl-released",
    "TANL (released)",
    "Zhang et al., CVPR 2026, arXiv 2603.25250, as official.sh runs it: batches of 256 and α 0, so "
    "that a batch picks its labels from its own images",
    "test-time",
    TANL.needs,
)
# OpenOOD-VLM, scripts/ood/TANL/official.sh and activated_neg_postprocessor_official.py
PICKED = 1_000  # beta: negative labels used
QUEUE = 300  # memleng: activations kept of each side
GAP = 0.5
SEEN = 20_000  # scores that the threshold is computed from
LASTING = 0.95  # alpha: weight of the queue beside the images that arrive; the value that
# official.sh names for using both. It sets 0, with batches of 256: the sure images of a batch pick
# the labels that the batch is scored with, and the queue only where there are none
RELEASED_LASTING, RELEASED_BATCH = 0.0, 256
THRESHOLDS = np.arange(100) / 100
NOISES = 3  # images of each of five kinds of noise


def fit_tanl(inputs: FitInputs, seed: int) -> FittedStream:
    """Take every word as a candidate; the temperature is NegLabel's choice on validation images."""
    return _fit(inputs, seed, LASTING, 1)


def fit_released(inputs: FitInputs, seed: int) -> FittedStream:
    """The same with the batches and the weight of the queue that the authors' script sets."""
    return _fit(inputs, seed, RELEASED_LASTING, RELEASED_BATCH)


def _fit(inputs: FitInputs, seed: int, lasting: float, batch: int) -> FittedStream:
    mining = inputs.recipe.mining
    mined = mine(inputs, mining)
    words = inputs.candidates(mining)
    kept = negatives_of_share(words, inputs.class_names, mined.classes, mining, 1.0)
    encoder = inputs.encoder
    noise = encoder.encode_images(noise_images(encoder.image_size, seed))
    scorer = Tanl(
        mined.classes, words.features[kept], noise, mined.score.temperature, seed, lasting, batch
    )
    return FittedStream(
        scorer,
        {
            "temperature": mined.score.temperature,
            "candidates": len(kept),
            "picked": min(PICKED, len(kept)),
        },
        len(kept) * mined.classes.shape[1],
    )


class Tanl:
    """The classes' fraction of a softmax with the labels that OOD images activate most.

    At the start, class names stand for in-distribution images and noise for OOD ones. `batch`
    images arrive at once; `lasting` is alpha, the weight of the images before them beside theirs.
    """

    def __init__(
        self,
        classes: Floats,
        labels: Floats,
        noise: Floats,
        temperature: float,
        seed: int,
        lasting: float = LASTING,
        batch: int = 1,
    ) -> None:
        self.batch = batch
        self._lasting = lasting
        self._classes = len(classes)
        names = scores.normalise(classes)
        self._texts = np.concatenate([names, scores.normalise(labels)])
        self._temperature = temperature
        rng = np.random.default_rng(seed)  # more classes than places: some of them at random
        self._known = self._cosines(names[rng.permutation(len(names))])
        self._unknown = self._cosines(scores.normalise(noise))

    def score_stream(self, stream: EncodedSet, order: NDArray[np.int64]) -> Floats:
        """Score from the initial state: (N,) in [0, 1]; see `StreamScorer`."""
        known, unknown = (
            Queue([self._activation(row) for row in rows]) for rows in (self._known, self._unknown)
        )
        picked = self._picked(unknown.mean - known.mean)
        seen = [self._share(row, picked) for row in (*self._known, *self._unknown)]
        images = scores.normalise(stream.features)
        found = np.empty(len(images), np.float32)
        for start in range(0, len(order), self.batch):
            rows = order[start : start + self.batch]
            cosines = self._cosines(images[rows])
            active = np.stack([self._activation(one) for one in cosines])
            picked = self._picked(unknown.mean - known.mean)
            first = np.array([self._share(one, picked) for one in cosines])
            seen = [*seen, *first.tolist()][-SEEN:]
            threshold = otsu(seen)
            inside = active[first > threshold + GAP * (1 - threshold)]
            beyond = active[first < threshold - GAP * threshold]
            picked = self._picked(self._mixed(unknown, beyond) - self._mixed(known, inside))
            found[rows] = [self._share(one, picked) for one in cosines]
            known.extend(inside)
            unknown.extend(beyond)
        return found

    def _mixed(self, queue: Queue, now: Floats) -> Doubles:
        """Return the queue's mean activations (M,), mixed with those of images (B, M) if any."""
        if not len(now):
            return queue.mean
        mixed: Doubles = self._lasting * queue.mean + (1 - self._lasting) * now.mean(axis=0)
        return mixed

    def _cosines(self, images: Floats) -> Doubles:
        cosines: Doubles = (images @ self._texts.T).astype(np.float64)
        return cosines

    def _activation(self, cosines: Doubles) -> Floats:
        """Share of each label (M,) in the softmax over class names and all labels."""
        powers = np.exp((cosines - cosines.max()) / self._temperature)
        shares: Floats = (powers / powers.sum())[self._classes :].astype(np.float32)
        return shares

    def _picked(self, activity: Doubles) -> NDArray[np.intp]:
        """Return the most active labels, most active first."""
        some = min(PICKED, len(activity))
        top = np.sort(np.argpartition(-activity, some - 1)[:some])
        return top[np.argsort(-activity[top], kind="stable")]

    def _share(self, cosines: Doubles, picked: NDArray[np.intp]) -> float:
        """Mean of the classes' share beside the first label, the first two, ... (gamma = 1)."""
        known, unknown = np.split(cosines, [self._classes])
        top = known.max()
        of_classes = np.exp((known - top) / self._temperature).sum()
        of_labels = np.exp((unknown[picked] - top) / self._temperature).cumsum()
        return float((of_classes / (of_classes + of_labels)).mean())


class Queue:
    """The last `QUEUE` activations (M,) and their mean."""

    def __init__(self, rows: Sequence[Floats]) -> None:
        self._rows = deque(rows[-QUEUE:])
        self._sum: Doubles = np.asarray(np.sum(self._rows, axis=0, dtype=np.float64))

    @property
    def mean(self) -> Doubles:
        """Mean activation of each label (M,)."""
        mean: Doubles = self._sum / len(self._rows)
        return mean

    def extend(self, rows: Floats) -> None:
        """Add activations (B, M), in their order; the oldest are dropped."""
        for row in rows:
            self._rows.append(row)
            self._sum = self._sum + row
            if len(self._rows) > QUEUE:
                self._sum = self._sum - self._rows.popleft()


def otsu(values: Sequence[float]) -> float:
    """Return the multiple of 0.01 that splits values in [0, 1] with the least variance (Otsu).

    The middle one of equals, as of all if none splits them (find_best_threshold).
    """
    rows = np.sort(values)
    below = np.searchsorted(rows, THRESHOLDS, side="left")
    sums, squares = (np.concatenate([[0.0], part.cumsum()]) for part in (rows, rows**2))
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = squares[below] - sums[below] ** 2 / below
        rest = (sums[-1] - sums[below]) ** 2 / (len(rows) - below)
        spread += squares[-1] - squares[below] - rest
    spread[(below == 0) | (below == len(rows))] = np.inf
    best = np.flatnonzero(spread == spread.min())
    return float(THRESHOLDS[best[len(best) // 2]])


def noise_images(size: int, seed: int) -> list[Image.Image]:
    """Draw Gaussian, uniform, Poisson, gamma and salt-and-pepper noise as RGB images."""
    rng = np.random.default_rng(seed)
    shape = (NOISES, size, size, 3)
    kinds = (
        rng.normal(size=shape),
        rng.uniform(size=shape),
        rng.poisson(5.0, shape),
        rng.gamma(2.0, size=shape),
        rng.integers(0, 2, shape),
    )
    images = []
    for kind in kinds:
        whole = (kind - kind.min()) / (kind.max() - kind.min())
        images += [Image.fromarray(one) for one in (255 * whole).round().astype(np.uint8)]
    return images


SYSTEMS = (StreamSystem(TANL, fit_tanl), StreamSystem(RELEASED, fit_released))
