"""The interface of a compared system: a record, and a function that fits it.

An inductive system gives a `Scorer`, whose score of an image depends on that image alone. A
test-time system sees the whole stream of test images; it has a type of its own, so that the two
kinds cannot be confused, and its rows record the order of the stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from synood.benchmark.protocol.encoding import EncodedSet, join

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.methods import Method

Scorer: TypeAlias = Callable[[EncodedSet], "NDArray[np.float32]"]


class StreamScorer(Protocol):
    """Scores images in the order of arrival, learning from them; keeps nothing between streams.

    A scorer that takes several images at once says how many in an attribute `batch`.
    """

    def score_stream(self, stream: EncodedSet, order: NDArray[np.int64]) -> NDArray[np.float32]:
        """Score a stream from the initial state.

        Args:
            stream: N images.
            order: (N,) permutation; image `order[0]` arrives first.

        Returns:
            (N,) scores in the rows' own order, higher = more in-distribution.
        """


@dataclass(frozen=True, eq=False)
class Fitted:
    """A scorer, and what is recorded of it.

    `chosen` are the settings chosen on validation images or estimated, as JSON values;
    `added_parameters` counts what is stored besides the frozen networks and class names.
    """

    score: Scorer
    chosen: Mapping[str, object] = field(default_factory=dict)
    added_parameters: int = 0

    def __call__(self, encoded: EncodedSet) -> NDArray[np.float32]:
        """Score one set: (N,) float32, higher = more in-distribution."""
        return self.score(encoded)


@dataclass(frozen=True, eq=False)
class FittedStream:
    """The same as `Fitted`, for a test-time system."""

    scorer: StreamScorer
    chosen: Mapping[str, object] = field(default_factory=dict)
    added_parameters: int = 0


Fit: TypeAlias = Callable[["FitInputs", int], Fitted]


@dataclass(frozen=True)
class System:
    """An inductive system. `fit(material, seed)` gives the same scorer for the same arguments.

    `seeded` is whether the seed has an effect; such systems are run with several seeds. `slow`
    ones take hours without an accelerator: a table has them there only if they are asked for.
    """

    method: Method
    fit: Fit
    seeded: bool = False
    slow: bool = False


@dataclass(frozen=True)
class StreamSystem:
    """A test-time system, which is scored on the streams of `stream_of`."""

    method: Method
    fit: Callable[[FitInputs, int], FittedStream]
    seeded: bool = True
    slow: bool = False


@dataclass(frozen=True, eq=False)
class Stream:
    """All images of one in-distribution and one OOD set, shuffled together by `seed`.

    As in the test-time papers (OpenOOD-VLM, fsood_evaluator_clip.py:253): one OOD set at a time,
    with an empty memory for each.
    """

    images: EncodedSet
    order: NDArray[np.int64]
    n_id: int
    seed: int

    def split(self, scores: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the in-distribution and the OOD part of (N,) scores in the rows' order."""
        return scores[: self.n_id], scores[self.n_id :]

    def details(self, scorer: StreamScorer) -> dict[str, object]:
        """Return what a row of the results records of the stream."""
        return {
            "order": "shuffled",
            "seed": self.seed,
            "images": len(self.images),
            "batch": getattr(scorer, "batch", 1),
        }


def stream_of(in_distribution: EncodedSet, ood: EncodedSet, seed: int) -> Stream:
    """Shuffle an in-distribution and an OOD set into one stream."""
    images = join(ood.name, [in_distribution, ood])
    order = np.random.default_rng(seed).permutation(len(images))
    return Stream(images, order, len(in_distribution), seed)
