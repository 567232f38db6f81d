"""The charts of the page: gains with intervals, and each set's histogram and ROC curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synood.benchmark.report import svg
from synood.benchmark.report.summary import ALL
from synood.benchmark.report.svg_curves import roc_chart, roc_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup

    from synood.benchmark.report.report import Distribution
    from synood.benchmark.results.comparisons import Comparison

NAMES = {"auroc": "AUROC", "fpr95": "FPR95"}
LONGEST = 46  # characters of a name in a chart


@dataclass(frozen=True)
class GainPlot:
    """A forest plot: its title, which side means better, and the chart."""

    title: str
    side: str
    chart: Markup


def gain_plots(comparisons: Sequence[Comparison], titles: Mapping[str, str]) -> list[GainPlot]:
    """Draw the gains averaged over all sets: of few methods over many, or of many over few."""
    shown = [item for item in comparisons if item.column == ALL]
    methods = dict.fromkeys(item.method for item in shown)
    others = dict.fromkeys(item.other for item in shown)
    plots = []
    if len(methods) < len(others) or len(methods) == 1:
        for name in methods:
            title = titles.get(name, name)
            for metric, measure in NAMES.items():
                rows = [
                    (item.other, item)
                    for item in shown
                    if (item.method, item.metric) == (name, metric)
                ]
                side = f"To the right of the line, {title} is better."
                of = f"Gain of {title} in {measure}"
                plots.append(_gain_plot(of, "over", side, rows, titles))
        return plots
    for other in others:
        title = titles.get(other, other)
        for metric, measure in NAMES.items():
            rows = [
                (item.method, item)
                for item in shown
                if item.metric == metric and item.other == other
            ]
            side = f"To the right of the line, a method is better than {title}."
            plots.append(_gain_plot(f"Gain over {title} in {measure}", "of", side, rows, titles))
    return plots


def _gain_plot(
    title: str,
    word: str,
    side: str,
    rows: Sequence[tuple[str, Comparison]],
    titles: Mapping[str, str],
) -> GainPlot:
    drawn = [
        (_short(titles.get(name, name)), 100 * c.gain, 100 * c.low, 100 * c.high, c.verdict)
        for name, c in rows
    ]
    spoken = (
        f"{word} {name} {g:+.1f} ({low:+.1f} to {high:+.1f})" for name, g, low, high, _ in drawn
    )
    return GainPlot(title, side, svg.gain_plot(drawn, f"{title}, points: {'; '.join(spoken)}"))


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def set_charts(
    distributions: Sequence[Distribution], threshold: float | None
) -> list[dict[str, object]]:
    """Draw each set's histogram, all on one axis, and its ROC curve."""
    if not distributions:
        return []
    everything = [distributions[0].in_distribution, *(item.ood for item in distributions)]
    axis = svg.axis_of(np.concatenate(everything))
    return [_set_chart(item, axis, threshold) for item in distributions]


def _set_chart(item: Distribution, axis: svg.Axis, threshold: float | None) -> dict[str, object]:
    at = -np.inf if threshold is None else threshold
    kept, accepted = (float(np.mean(side >= at)) for side in (item.in_distribution, item.ood))
    label = (
        f"Scores on {item.name}: {100 * kept:.0f} % of in-distribution images and "
        f"{100 * accepted:.0f} % of OOD images are accepted"
    )
    chart = svg.mirrored_histogram(item.in_distribution, item.ood, axis, threshold, label)
    roc = roc_of(item.in_distribution, item.ood)
    figures = [100 * value for value in (roc.auroc, roc.fpr95, roc.fpr95_ood_positive)]
    spoken = (
        f"ROC curve of {item.name}: area {figures[0]:.1f} %; {figures[1]:.1f} % of OOD accepted "
        f"when 95 % of in-distribution is kept; {figures[2]:.1f} % of in-distribution rejected "
        "when 95 % of OOD is caught"
    )
    return {
        "name": item.name,
        "group": item.group,
        "kept": f"{100 * kept:.1f}",
        "accepted": f"{100 * accepted:.1f}",
        "n_ood": len(item.ood),
        "chart": chart,
        "roc": roc_chart(roc, spoken),
        "auroc": f"{figures[0]:.1f} %",
        "fpr95": f"{figures[1]:.1f} %",
        "fpr95_ood_positive": f"{figures[2]:.1f} %",
    }
