"""One in-distribution set against many OOD sets at once."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np

from synood.errors import InputError
from synood.metrics._curve import curve_of_sorted, sorted_scores
from synood.metrics._ood_metrics import OODMetrics, checked_rate, metrics_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

ALL = "all"


@dataclass(frozen=True)
class SetMetrics:
    """The metrics of each OOD set, and their unweighted averages over groups of sets.

    `averages` has an entry for each group, in the order of the sets, and "all" for every set. Every
    set counts the same, whatever its size.
    """

    sets: Mapping[str, OODMetrics]
    averages: Mapping[str, OODMetrics]


def ood_metrics_by_set(
    id_scores: ArrayLike,
    ood_sets: Mapping[str, ArrayLike],
    groups: Mapping[str, str] | None = None,
    tpr: float = 0.95,
) -> SetMetrics:
    """Measure one ID set against many OOD sets, sorting the ID side once.

    Args:
        id_scores: (N,) scores of in-distribution images, higher = more in-distribution.
        ood_sets: name -> (M,) scores of that set's images.
        groups: name -> group ("near", "far") for the averages; a set without a group counts only
            in "all".
        tpr: as in `ood_metrics`.

    Raises:
        InputError: no set is given, a set cannot be used (the message names it), or `groups` names
            an unknown set.
    """
    groups = groups or {}
    if not ood_sets:
        raise InputError("ood_sets: none given; give at least one")
    for name in groups:
        if name not in ood_sets:
            raise InputError(f"groups: {name!r} is not one of the OOD sets")
    if ALL in groups.values():
        raise InputError(f"groups: {ALL!r} is the average over every set; use another name")
    rate, ids = checked_rate(tpr), sorted_scores(id_scores, "id_scores")
    sets = {
        name: metrics_of(curve_of_sorted(ids, scores, f"ood_sets[{name!r}]"), rate)
        for name, scores in ood_sets.items()
    }
    members: dict[str, list[OODMetrics]] = {}
    for name, metrics in sets.items():
        if name in groups:
            members.setdefault(groups[name], []).append(metrics)
    members[ALL] = list(sets.values())
    return SetMetrics(sets, {group: _mean(metrics) for group, metrics in members.items()})


def _mean(metrics: list[OODMetrics]) -> OODMetrics:
    return OODMetrics(*np.mean([astuple(one) for one in metrics], axis=0).tolist())
