"""Watching a detector at work: whether it still sees what its threshold was set for.

Compared are scores and, where the detector has it beside the text, image evidence. A window of
images is tested against the reference at once; a stream image by image, by a martingale.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from synood.arrays import to_numpy
from synood.detector.drift import FEWEST, LEVEL, compare_scores
from synood.detector.martingale import StreamState, StreamTest, checked_level

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from synood.detector.calibration import Calibration
    from synood.detector.prediction import Prediction

BINS = 10  # of the population stability index: tenths of the reference
WINDOW = 1_000  # latest images that a `Watch` compares with the reference
NO_LABEL = ""  # of reference images whose predicted classes were not kept


@dataclass(frozen=True)
class WindowState:
    """A window of images against the reference; the first four names are alibi-detect's.

    `distance` is the largest difference of the distribution functions, `p_val` that of the
    Kolmogorov-Smirnov test, `threshold` its level. `lower` says whether the window has the lower
    values. `psi` is the population stability index, `psi_unchanged` about what it is on average
    where nothing has changed, for numbers of images as these.
    """

    is_drift: bool
    p_val: float
    distance: float
    threshold: float
    lower: bool
    psi: float
    psi_unchanged: float
    images: int


@dataclass
class VerdictCount:
    """Of how many images of a class there is a verdict (`judged`), and how many are OOD."""

    images: int = 0
    judged: int = 0
    ood: int = 0

    def add(self, is_ood: bool | None) -> None:
        """Count one image."""
        self.images += 1
        self.judged += is_ood is not None
        self.ood += bool(is_ood)


@dataclass(frozen=True, eq=False)
class Observed:
    """What a detector said of N images, in their order.

    `labels` and `is_ood` (N,) are None where they are not known; `unreadable` images are not among
    the N. `cross_fitted` is as in `Calibration`.
    """

    scores: NDArray[np.float32]
    image_evidence: NDArray[np.float32] | None = None
    labels: Sequence[str] | None = None
    is_ood: Sequence[bool | None] | None = None
    unreadable: int = 0
    cross_fitted: bool = False

    @classmethod
    def of(cls, calibration: Calibration, class_names: Sequence[str]) -> Observed | None:
        """Return the calibration images of a detector; None where their scores were not kept."""
        if calibration.scores is None:
            return None
        rows = calibration.labels
        own = [-1] * calibration.images if rows is None else rows.tolist()
        thresholds = [
            calibration.threshold if row < 0 else calibration.threshold_of(row) for row in own
        ]
        return cls(
            calibration.scores,
            calibration.image_evidence,
            None if rows is None else [class_names[row] for row in own],
            (calibration.scores < np.array(thresholds)).tolist(),
            cross_fitted=calibration.cross_fitted,
        )

    def quantities(self, other: Observed) -> dict[str, tuple[NDArray[np.float32], ...]]:
        """Return name -> this one's values and the other's, of what both have."""
        found: dict[str, tuple[NDArray[np.float32], ...]] = {"score": (self.scores, other.scores)}
        if self.image_evidence is not None and other.image_evidence is not None:
            found["image_evidence"] = (self.image_evidence, other.image_evidence)
        return found

    def verdicts(self) -> dict[str, VerdictCount]:
        """Count verdicts by predicted class; under "" where the classes are not known."""
        found: dict[str, VerdictCount] = {}
        none = [None] * len(self.scores)
        labels = [NO_LABEL] * len(none) if self.labels is None else self.labels
        for label, is_ood in zip(labels, self.is_ood or none, strict=True):
            found.setdefault(label, VerdictCount()).add(is_ood)
        return dict(sorted(found.items()))


@dataclass(frozen=True)
class Comparison:
    """A window of images against a reference, at once and as a stream; by name of the quantity.

    `is_drift` is whether any test tells of drift. Each has an equal part of `level`, so that
    `level` bounds the chance of a false alarm by any of them.
    """

    is_drift: bool
    level: float
    windows: Mapping[str, WindowState]
    streams: Mapping[str, StreamState]


@dataclass(frozen=True)
class WatchState:
    """What a `Watch` has seen so far; `windows` and `streams` are by name of the quantity.

    `is_drift` is whether a stream raised an alarm: `level` is the chance that one ever does, where
    nothing changes. `windows` are of the latest images, none before there are 20; their tests are
    repeated as often as one looks, so they raise no alarm. `verdicts` are by predicted class.
    """

    is_drift: bool
    level: float
    images: int
    unreadable: int
    windows: Mapping[str, WindowState]
    streams: Mapping[str, StreamState]
    verdicts: Mapping[str, VerdictCount]


@dataclass
class _Quantity:
    """One quantity of a watch."""

    reference: NDArray[np.float32]
    stream: StreamTest
    latest: deque[float] = field(default_factory=deque)


class Watch:
    """Follows a detector's predictions one by one, in bounded memory; safe among threads.

    The reference are the in-distribution `scores` (n,) and `image_evidence` (n,) that new images
    are compared with; where there are no scores, a stream is compared with its own past and there
    is no window test. Image evidence is followed only where the reference has it.

    >>> watch = Watch([*range(100)])
    >>> for score in range(30, 60):
    ...     watch.add(Prediction(score, False, "panda"))  # doctest: +SKIP
    >>> watch.state.is_drift
    False
    """

    def __init__(
        self,
        scores: ArrayLike = (),
        image_evidence: ArrayLike | None = None,
        *,
        cross_fitted: bool = False,
        level: float = LEVEL,
        window: int = WINDOW,
        seed: int = 0,
    ) -> None:
        self.level = checked_level(level)
        given = {"score": scores}
        if image_evidence is not None:
            given["image_evidence"] = image_evidence
        self._cross_fitted = cross_fitted
        self._share = self.level / len(given)
        self._quantities = {
            name: _Quantity(
                to_numpy(values, name).astype(np.float32).ravel(),
                StreamTest(values, self._share, cross_fitted=cross_fitted, seed=seed),
                deque(maxlen=window),
            )
            for name, values in given.items()
        }
        self._verdicts: dict[str, VerdictCount] = {}
        self._images = self._unreadable = 0
        self._lock = threading.Lock()

    @classmethod
    def of(
        cls, calibration: Calibration | None, *, level: float = LEVEL, window: int = WINDOW
    ) -> Watch:
        """Return a watch of a detector, by its calibration images."""
        if calibration is None or calibration.scores is None:
            return cls(level=level, window=window)
        return cls(
            calibration.scores,
            calibration.image_evidence,
            cross_fitted=calibration.cross_fitted,
            level=level,
            window=window,
        )

    def add(self, prediction: Prediction) -> None:
        """Take the next prediction; one of an image that could not be read is only counted."""
        with self._lock:
            if prediction.error:
                self._unreadable += 1
                return
            self._images += 1
            self._verdicts.setdefault(prediction.label, VerdictCount()).add(prediction.is_ood)
            for name, quantity in self._quantities.items():
                value = getattr(prediction, name)
                if value is not None:
                    quantity.stream.add(value)
                    quantity.latest.append(value)

    @property
    def state(self) -> WatchState:
        """What has been seen so far."""
        with self._lock:
            latest = {name: [*item.latest] for name, item in self._quantities.items()}
            streams = {name: item.stream.state for name, item in self._quantities.items()}
            verdicts = {
                name: VerdictCount(one.images, one.judged, one.ood)
                for name, one in sorted(self._verdicts.items())
            }
            images, unreadable = self._images, self._unreadable
        windows = {
            name: compare_window(item.reference, latest[name], self._share, self._cross_fitted)
            for name, item in self._quantities.items()
            if min(len(item.reference), len(latest[name])) >= FEWEST
        }
        drift = any(stream.is_drift for stream in streams.values())
        return WatchState(drift, self.level, images, unreadable, windows, streams, verdicts)


def compare(reference: Observed, window: Observed, level: float = LEVEL) -> Comparison:
    """Compare the images of a window, as a whole and in their order, with those of a reference."""
    pairs = reference.quantities(window)
    share = checked_level(level) / (2 * len(pairs))
    windows: dict[str, WindowState] = {}
    streams: dict[str, StreamState] = {}
    for name, (known, new) in pairs.items():
        windows[name] = compare_window(known, new, share, reference.cross_fitted)
        stream = StreamTest(known, share, cross_fitted=reference.cross_fitted)
        for value in new.tolist():
            stream.add(value)
        streams[name] = stream.state
    alarms = [one.is_drift for one in windows.values()] + [one.is_drift for one in streams.values()]
    return Comparison(any(alarms), level, windows, streams)


def compare_window(
    reference: ArrayLike, window: ArrayLike, level: float, cross_fitted: bool = False
) -> WindowState:
    """Test a window of values (N,) against a reference (n,), of which there is one each at least.

    With `cross_fitted`, higher values are to be expected and no drift.
    """
    known, new = to_numpy(reference, "reference"), to_numpy(window, "window")
    found = compare_scores(known, new)
    psi, bins = population_stability(known, new)
    return WindowState(
        is_drift=found.p_value < level and (found.lower or not cross_fitted),
        p_val=found.p_value,
        distance=found.distance,
        threshold=level,
        lower=found.lower,
        psi=psi,
        psi_unchanged=(bins - 1) * (1 / len(known) + 1 / len(new)),
        images=len(new),
    )


def population_stability(reference: ArrayLike, window: ArrayLike) -> tuple[float, int]:
    """Return the population stability index of values (N,) against (n,), and the number of bins.

    The bins are tenths of the reference, fewer where values tie. Of fractions p and q of the two in
    each bin it is the sum of (q - p) log(q / p), half an image added to each bin, so that an empty
    one is no infinity. 0 where the fractions are equal.

    >>> population_stability(range(100), range(100))
    (0.0, 10)
    """
    known, new = to_numpy(reference, "reference"), to_numpy(window, "window")
    edges = np.unique(np.quantile(known, np.arange(1, BINS) / BINS, method="higher"))
    counts = [
        np.bincount(np.searchsorted(edges, side, side="right"), minlength=len(edges) + 1) + 0.5
        for side in (known, new)
    ]
    p, q = (count / count.sum() for count in counts)
    return float(((q - p) * np.log(q / p)).sum()), len(edges) + 1
