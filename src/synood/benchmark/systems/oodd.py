"""OODD: a test-time system that keeps the images least like the classes and avoids their like."""

from __future__ import annotations

from heapq import heappush, heapreplace
from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.benchmark.protocol.baselines import TEMPERATURES
from synood.benchmark.protocol.methods import ENCODER, NAMES, WORDS, Method
from synood.benchmark.protocol.system import FittedStream, StreamSystem
from synood.benchmark.systems._choosing import StreamOption, best_stream_of
from synood.benchmark.systems._mining import mine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.systems._mining import Mined

    Floats = NDArray[np.float32]

OODD = Method(
    "oodd",
    "OODD",
    "Yang et al., CVPR 2025, arXiv 2503.10468, on NegLabel's score",
    "test-time",
    (ENCODER, NAMES, WORDS, "the stream of test images"),
)
# the authors' NegLabel/tools/ood_test.py:261-298
QUEUES = (2048, 512, 128, 32)  # images; the published one is longer than a short stream
NEIGHBOUR = 5
BATCH = 64


def fit_oodd(inputs: FitInputs, seed: int) -> FittedStream:
    """Mine as NegLabel; choose the queue and the temperature on streams of validation images.

    NegLabel's own choice of the temperature is for its ranking alone. Here it also says how much
    the share weighs beside the cosine.
    """
    mined = mine(inputs, inputs.recipe.mining)
    own = mined.score.temperature
    temperatures = (own, *(t for t in TEMPERATURES if t != own))
    options = [
        StreamOption(
            {"negatives": len(mined.negatives), "temperature": t, "queue": size},
            Oodd(mined, t, size),
        )
        for size in QUEUES
        for t in temperatures
    ]
    return best_stream_of(inputs, options, seed, mined.negatives.size)


class Oodd:
    """S = NegLabel's share less the cosine with the 5th nearest image of the queue.

    The queue holds the images of lowest share so far. A batch is put into it before it is scored.
    """

    batch = BATCH

    def __init__(self, mined: Mined, temperature: float, size: int) -> None:
        self._size = size
        settings = mined.score
        self._neglabel = scores.NegLabelScorer.from_features(
            mined.classes,
            mined.negatives,
            temperature,
            settings.groups,
            settings.seed,
        )

    def score_stream(self, stream: EncodedSet, order: NDArray[np.int64]) -> Floats:
        """Score from an empty queue: (N,) in [-1, 2]; see `StreamScorer`."""
        odds = self._neglabel.log_odds(stream.features)
        images = scores.normalise(stream.features)
        return with_queue(scores.share(odds), odds, images, order, self.batch, self._size)


def with_queue(
    base: Floats,
    rank: Floats,
    images: Floats,
    order: NDArray[np.int64],
    batch: int,
    size: int,
) -> Floats:
    """Base scores (N,) less the cosine with the `NEIGHBOUR`-th nearest image of the queue.

    The queue holds the `size` images of lowest `rank` (N,) so far, of which `images` (N, D) are the
    unit features; a rank orders as the base does, without its ties. Images arrive in `order`.
    """
    queue: list[tuple[float, int, int]] = []  # the least OOD first: minus rank, minus arrival, row
    found = np.empty(len(images), np.float32)
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        for place, row in enumerate(rows, start=start):
            entry = (-float(rank[row]), -place, int(row))
            if len(queue) < size:
                heappush(queue, entry)
            elif entry > queue[0]:
                heapreplace(queue, entry)
        alike = images[rows] @ images[[row for _, _, row in queue]].T
        k = min(NEIGHBOUR, len(queue))
        nearest = np.partition(alike, alike.shape[1] - k, axis=1)[:, alike.shape[1] - k]
        found[rows] = base[rows] - nearest
    return found


SYSTEMS = (StreamSystem(OODD, fit_oodd),)
