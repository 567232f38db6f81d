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
    "CVPR 2026, arXiv 2603.25250, after its code; images one at a time, so α is 0.95 (official.sh: "
    "batches of 256 and α 0)",
    "test-time",
    (ENCODER, NAMES, WORDS, "the stream of test images"),
)
# OpenOOD-VLM, scripts/ood/TANL/official.sh and activated_neg_postprocessor_official.py
PICKED = 1_000  # beta: negative labels used
QUEUE = 300  # memleng: activations kept of each side
GAP = 0.5
SEEN = 20_000  # scores that the threshold is computed from
LASTING = 0.95  # alpha: weight of the queue relative to the image. official.sh has 0 with batches
# of 256, where a batch speaks for itself; one image does not, and 0.95 is its value for using both
THRESHOLDS = np.arange(100) / 100
NOISES = 3  # images of each of five kinds of noise


def fit_tanl(inputs: FitInputs, seed: int) -> FittedStream:
    """Take every word as a candidate; the temperature is NegLabel's choice on validation images."""
    mining = inputs.recipe.mining
    mined = mine(inputs, mining)
    words = inputs.candidates(mining)
    kept = negatives_of_share(words, inputs.class_names, mined.classes, mining, 1.0)
    encoder = inputs.encoder
    noise = encoder.encode_images(noise_images(encoder.image_size, seed))
    scorer = Tanl(mined.classes, words.features[kept], noise, mined.score.temperature, seed)
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

    At the start, class names stand for in-distribution images and noise for OOD ones. The authors'
    code takes 256 images at once; here each is scored before the next one arrives.
    """

    def __init__(
        self, classes: Floats, labels: Floats, noise: Floats, temperature: float, seed: int
    ) -> None:
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
        for row in order:
            cosines = self._cosines(images[row : row + 1])[0]
            active = self._activation(cosines)
            first = self._share(cosines, self._picked(unknown.mean - known.mean))
            seen = [*seen, first][-SEEN:]
            threshold = otsu(seen)
            surely_known = first > threshold + GAP * (1 - threshold)
            surely_unknown = first < threshold - GAP * threshold
            inside = _mixed(known.mean, active) if surely_known else known.mean
            beyond = _mixed(unknown.mean, active) if surely_unknown else unknown.mean
            found[row] = self._share(cosines, self._picked(beyond - inside))
            if surely_known:
                known.append(active)
            if surely_unknown:
                unknown.append(active)
        return found

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

    def append(self, row: Floats) -> None:
        """Add one; the oldest is dropped."""
        self._rows.append(row)
        self._sum = self._sum + row
        if len(self._rows) > QUEUE:
            self._sum = self._sum - self._rows.popleft()


def _mixed(lasting: Doubles, now: Floats) -> Doubles:
    return LASTING * lasting + (1 - LASTING) * now


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


SYSTEMS = (StreamSystem(TANL, fit_tanl),)
