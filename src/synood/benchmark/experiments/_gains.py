"""The table of what one way of making a detector gains over another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.benchmark.report.extra_tables import ExtraTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from synood.benchmark.results.comparisons import Comparison

_COLUMNS = {
    ("fpr95", "all"): "FPR95, all",
    ("fpr95", "near"): "near",
    ("fpr95", "far"): "far",
    ("auroc", "all"): "AUROC, all",
}


def gains(compared: Iterable[Comparison], titles: Mapping[str, str]) -> ExtraTable:
    """Return a line for each pair of methods: FPR95 on all, near and far sets, and AUROC on all.

    `titles` names the methods. A group that a suite does not have is left empty.
    """
    by_pair: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for item in compared:
        place = item.metric, item.column.removeprefix("average:")
        by_pair.setdefault((item.method, item.other), {})[place] = _points(item)
    lines = tuple(
        (titles[one], f"over {titles[other]}", *(cells.get(place, "") for place in _COLUMNS))
        for (one, other), cells in by_pair.items()
    )
    title = (
        "Gains in points, with 95 % intervals over test images and over seeds, which draw both "
        "the images and the tuning; * the interval excludes zero"
    )
    return ExtraTable(title, ("", "", *_COLUMNS.values()), lines)


def _points(item: Comparison) -> str:
    mark = "" if item.verdict == "even" else " *"
    return f"{100 * item.gain:+.1f} ({100 * item.low:+.1f} to {100 * item.high:+.1f}){mark}"
