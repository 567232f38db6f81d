"""Whether new images score and look as the calibration images do, for which a threshold holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synood.arrays import to_numpy
from synood.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from synood.detector.calibration import Calibration

LEVEL = 0.01  # of all tests together: so often is a warning wrong where nothing has changed
FEWEST = 20  # images on either side; fewer say too little to warn of
OTHER_KIND = (
    "They are of another kind, for which the threshold does not hold: calibrate with "
    "in-distribution images of this kind"
)
EASIER = "They are of an easier kind, or the detector has learned from them; more of them are kept"
UNLIKE = (
    "So far the threshold takes them as it takes those; see that this is right, or calibrate with "
    "images of this kind"
)


@dataclass(frozen=True)
class Drift:
    """A two-sample test of scores: how far their distributions are apart, and how surely.

    `distance` is the largest difference of the distribution functions, in [0, 1]; `p_value` how
    often it is that large where nothing has changed; `lower` whether new scores are the lower ones.
    """

    distance: float
    p_value: float
    lower: bool

    @property
    def how(self) -> str:
        """ "lower" or "higher"."""
        return "lower" if self.lower else "higher"


def compare_scores(calibration: ArrayLike, scores: ArrayLike) -> Drift:
    """Compare the scores of calibration images (n,) with those of new ones (N,).

    Two-sided Kolmogorov-Smirnov test with the limiting distribution, which errs on the side of no
    difference for small samples and for ties. Raises `InputError` for an empty side and for NaN.

    >>> compare_scores(range(100), range(50, 150)).p_value < 1e-6
    True
    """
    known, new = (
        np.sort(to_numpy(values, name).astype(np.float64))
        for values, name in ((calibration, "calibration"), (scores, "scores"))
    )
    for values, name in ((known, "calibration"), (new, "scores")):
        if values.ndim != 1 or not len(values) or np.isnan(values[-1]):
            raise InputError(f"{name}: must be a line of numbers, without NaN, and not empty")
    everything = np.concatenate([known, new])
    below = [np.searchsorted(side, everything, side="right") / len(side) for side in (known, new)]
    more = below[1] - below[0]  # of the new images are lower
    distance = float(np.abs(more).max())
    return Drift(distance, _chance(distance, len(known), len(new)), bool(more.max() >= -more.min()))


def known_warning(calibration: Calibration | None, scores: ArrayLike) -> str | None:
    """Return a sentence where in-distribution images seem to be those of the calibration.

    They are where more than half of their scores (N,) are scores of calibration images to the last
    bit, as an image has whenever it is scored on one machine. A threshold keeps of its own images
    what it was set to keep, so that counting them measures nothing.
    """
    values = to_numpy(scores, "scores").astype(np.float32)
    if calibration is None or calibration.scores is None:
        return None
    same = int(np.isin(values, calibration.scores).sum())
    if 2 * same <= len(values):
        return None
    return (
        f"{same:,} of these {len(values):,} images score exactly as calibration images do and are "
        "probably these: that the threshold keeps them says nothing of new images"
    )


def drift_warning(
    calibration: Calibration | None,
    scores: ArrayLike,
    image_evidence: ArrayLike | None = None,
    *,
    in_distribution: bool = False,
) -> str | None:
    """Return a sentence where new images are unlike the calibration images, else None.

    Tests scores (N,) and, where there is any on both sides, what images alone say (N,), together at
    the level 1 %: each of two tests at half of it. Needs at least 20 images on either side.
    `in_distribution` says that the new images are known to be so; otherwise the images above the
    threshold tell whether all of them have changed alike, or some are out-of-distribution and the
    others as before. Values higher than those of a `cross_fitted` calibration are to be expected
    and are not reported.
    """
    values = to_numpy(scores, "scores")
    if calibration is None or calibration.scores is None:
        return None
    if min(len(values), calibration.images) < FEWEST:
        return None
    own = None if image_evidence is None else calibration.image_evidence
    level = LEVEL if own is None else LEVEL / 2
    looks_found = None
    if own is not None and image_evidence is not None:
        looks = compare_scores(own, image_evidence)
        if _is_significant(looks, level, calibration):
            looks_found = f"image evidence {looks.how}, p = {looks.p_value:.1g}"
    found = compare_scores(calibration.scores, values)
    if _is_significant(found, level, calibration):
        sentence = _by_score(calibration, values, found, level, in_distribution)
        return (
            f"{sentence}. They look unlike these too ({looks_found})" if looks_found else sentence
        )
    if looks_found is None:
        return None
    return (
        f"these {len(values):,} images look unlike the {calibration.images:,} calibration images, "
        f"though they score as these do (Kolmogorov-Smirnov, {looks_found}; "
        f"significant below {level:g}). {UNLIKE}"
    )


def _is_significant(found: Drift, level: float, calibration: Calibration) -> bool:
    return found.p_value < level and (found.lower or not calibration.cross_fitted)


def _by_score(
    calibration: Calibration,
    values: NDArray[Any],
    found: Drift,
    level: float,
    in_distribution: bool,
) -> str:
    """Say how scores (N,) differ from those of the calibration images, and of what that tells."""
    kept = values >= calibration.threshold
    sentence = (
        f"these {len(values):,} images score {found.how} than the {calibration.images:,} "
        f"calibration images (Kolmogorov-Smirnov, p = {found.p_value:.1g}; "
        f"significant below {level:g}): {100 * np.mean(kept):.1f} % of them are above the "
        f"threshold for {100 * calibration.tpr_wanted:g} %"
    )
    if in_distribution:
        return f"{sentence}. {OTHER_KIND if found.lower else EASIER}"
    # calibration.scores were there to be compared with
    known: NDArray[Any] = calibration.scores  # type: ignore[assignment]
    return f"{sentence}. {_cause(known[known >= calibration.threshold], values[kept], found.lower)}"


def _cause(known: NDArray[Any], kept: NDArray[Any], lower: bool) -> str:
    """Say what the scores above the threshold tell of the reason.

    OOD images below the threshold leave those above it as they are; images of another kind do not.
    """
    if not lower:
        return "Few of them are out-of-distribution, or they are of another, easier kind"
    if min(len(known), len(kept)) < FEWEST:
        return (
            "Most are out-of-distribution, or all are of another kind; if they are "
            "in-distribution, the threshold does not hold for them: calibrate with such images"
        )
    found = compare_scores(known, kept)
    if found.p_value < LEVEL and found.lower:
        return (
            "Those above it score lower too, so the images are of another kind as a whole. If they "
            "are in-distribution, the threshold does not hold for them: calibrate with such images"
        )
    return (
        "Those above it score as the calibration images do, so many of the others are probably "
        "out-of-distribution"
    )


def _chance(distance: float, known: int, new: int) -> float:
    """Probability of a distance at least as large between two samples of one kind."""
    reach = float(np.sqrt(known * new / (known + new)) * distance)
    if reach < 0.2:  # where the series converges slowly, to 1
        return 1.0
    terms = np.arange(1, 101)
    signs = np.where(terms % 2 == 1, 1.0, -1.0)
    return float(min(1.0, 2 * (signs * np.exp(-2 * (terms * reach) ** 2)).sum()))
