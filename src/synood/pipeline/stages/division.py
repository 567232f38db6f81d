"""Which images of each class are redrawn, learned from, and left over for the threshold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from synood.detector.conformal import images_needed
from synood.images.selection import complex_rows, rows_by_class

if TYPE_CHECKING:
    from collections.abc import Sequence, Set

    from numpy.typing import NDArray

    from synood.images.sources import ImageIndex
    from synood.pipeline.rundir.selection import Use
    from synood.settings import Recipe

ENOUGH = 10_000  # calibration images: more would make no threshold better, and all are encoded


def divide(
    index: ImageIndex, recipe: Recipe, with_probe: bool, values: NDArray[np.float64]
) -> tuple[list[int], dict[Use, set[int]]]:
    """Return the rows of the images to redraw, in their order, and those for each use.

    `values` (N,) are the images' bytes per pixel, NaN for those left out. The threshold comes from
    images that nothing is learned from: from all of them, unless `calibration.per_class` is given.
    Where too few would be left over for a threshold, some are kept out of learning for it.
    """
    alive = ~np.isnan(values)
    classes = [
        sorted(members[alive[members]].tolist(), key=lambda row: index.records[row].id)
        for members in rows_by_class(index.label_indices(), len(index.class_names))
    ]
    held = [
        set(evenly(rows, count))
        for rows, count in zip(classes, held_out([*map(len, classes)], recipe), strict=True)
    ]
    free = values.copy()
    free[[row for rows in held for row in rows]] = np.nan
    tuned = complex_rows(index, recipe.select.per_class, free)
    redrawn = {*tuned}
    learn: set[int] = set()
    left = []
    for rows, kept in zip(classes, held, strict=True):
        learnable = [row for row in rows if row not in kept]
        learn.update(more_to_learn(learnable, redrawn, recipe.projection.images_per_class))
        left.append([row for row in rows if row not in learn and row not in redrawn])
    probe = _probe(classes, left, redrawn | learn, recipe) if with_probe else set()
    given = recipe.calibration.per_class
    if given is None:
        left = [[row for row in rows if row not in probe] for rows in left]
    most = given or max(1, ENOUGH // len(classes))
    calibrate = {row for rows in left for row in evenly(rows, most)}
    groups: dict[Use, set[int]] = {
        "tune": redrawn, "learn": learn, "probe": probe, "calibrate": calibrate,
    }  # fmt: skip
    if recipe.evidence.from_images:  # which is cross-fitted, so that the threshold stays unseen
        groups["evidence"] = redrawn | learn | probe | calibrate
    return tuned, groups


def held_out(sizes: Sequence[int], recipe: Recipe) -> list[int]:
    """Return how many images of each class, of these sizes, are kept out of all learning.

    None where enough are left over anyway, where a number of calibration images was asked for,
    where half of the images would not be enough for a threshold either, and with image evidence,
    which is cross-fitted: an image then sets the threshold without having been learned from.

    >>> from synood.settings import Recipe
    >>> held_out([20, 40], Recipe("paper")), held_out([200, 200], Recipe("paper"))
    ([7, 13], [0, 0])
    """
    wanted, none = images_needed(recipe.calibration.tpr), [0] * len(sizes)
    learned = max(recipe.select.per_class, recipe.projection.images_per_class or 0)
    left = sum(max(0, size - learned) for size in sizes)
    if recipe.calibration.per_class is not None or recipe.evidence.from_images or left >= wanted:
        return none
    held = [min(size // 2, math.ceil(wanted * size / sum(sizes))) for size in sizes]
    return held if sum(held) >= wanted else none


def more_to_learn(rows: list[int], tuned: Set[int], wanted: int | None) -> list[int]:
    """Return which further rows of a class complete the number wanted."""
    others = [row for row in rows if row not in tuned]
    return evenly(others, max(0, (wanted or 0) - (len(rows) - len(others))))


def evenly(ordered: list[int], count: int) -> list[int]:
    """Return at most `count` members, evenly spaced."""
    taken = min(count, len(ordered))
    return [ordered[i * len(ordered) // taken] for i in range(taken)]


def _probe(
    classes: Sequence[list[int]], left: Sequence[list[int]], known: Set[int], recipe: Recipe
) -> set[int]:
    """Return the images of the probe, which guides the painting.

    It learns from the images that the projection does, and from up to half of those left over, so
    that none of its images sets the threshold. Where a number of calibration images was asked for,
    it sees any image, as in earlier versions.
    """
    most = recipe.probe.per_class
    if recipe.calibration.per_class is not None:
        return {row for rows in classes for row in evenly(rows, most)}
    halves = [evenly(rows, len(rows) // 2) for rows in left]
    if sum(map(len, left)) - sum(map(len, halves)) < images_needed(recipe.calibration.tpr):
        halves = [[] for _ in left]
    probe: set[int] = set()
    for rows, half in zip(classes, halves, strict=True):
        own = [row for row in rows if row in known]
        probe.update(evenly(own, most))
        probe.update(evenly(half, max(0, most - len(own))))
    return probe
