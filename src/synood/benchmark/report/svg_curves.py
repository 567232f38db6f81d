"""ROC curves as inline SVG, with the two points that are called FPR95."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synood.benchmark.report.svg import chart, text
from synood.metrics import ood_metrics

if TYPE_CHECKING:
    from markupsafe import Markup

SIDE, LEFT, TOP, BOTTOM = 168.0, 40.0, 8.0, 34.0
WIDTH, HEIGHT = LEFT + SIDE + 32.0, TOP + SIDE + BOTTOM


@dataclass(frozen=True)
class Roc:
    """A curve and its figures, fractions; `accepted` and `kept` (P,) rise from 0 to 1.

    `accepted` is the fraction of OOD images at or above each threshold, `kept` that of
    in-distribution ones.
    """

    accepted: np.ndarray
    kept: np.ndarray
    auroc: float
    fpr95: float
    fpr95_ood_positive: float


def roc_of(in_distribution: np.ndarray, ood: np.ndarray) -> Roc:
    """Return the curve of (N,) and (M,) scores, a point for each distinct score."""
    figures = ood_metrics(in_distribution, ood)
    thresholds = np.unique(np.concatenate([in_distribution, ood]))[::-1]
    accepted, kept = (
        np.append(0.0, 1 - np.searchsorted(np.sort(side), thresholds) / len(side))
        for side in (ood, in_distribution)
    )
    return Roc(accepted, kept, figures.auroc, figures.fpr95, figures.fpr95_ood_positive)


def roc_chart(roc: Roc, label: str) -> Markup:
    """Draw a curve; `label` is its text alternative.

    A ring stands where 95 % of in-distribution images are kept (FPR95), a square where 95 % of OOD
    images are caught (OpenOOD's FPR95, the fraction of in-distribution images below it).
    """
    parts = [
        f'<path class="frame" d="M{LEFT:g} {TOP:g}V{TOP + SIDE:g}H{LEFT + SIDE:g}"/>',
        f'<line class="zero" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>',
        f'<line class="guide" x1="{_x(0)}" y1="{_y(0.95)}" x2="{_x(1)}" y2="{_y(0.95)}"/>',
        f'<line class="guide" x1="{_x(0.05)}" y1="{_y(0)}" x2="{_x(0.05)}" y2="{_y(1)}"/>',
        f'<path class="roc" d="{_way(roc)}"/>',
        f'<circle class="ring" cx="{_x(roc.fpr95)}" cy="{_y(0.95)}" r="4.5"/>',
        _square(0.05, 1 - roc.fpr95_ood_positive),
    ]
    for share in (0.0, 0.5, 1.0):
        name = f"{100 * share:g}"
        parts.append(text(float(_x(share)), TOP + SIDE + 14, name, "tick-label", "middle"))
        parts.append(text(LEFT - 6, float(_y(share)) + 4, name, "tick-label", "end"))
    middle = TOP + SIDE / 2
    parts.append(text(LEFT + SIDE / 2, HEIGHT - 5, "% of OOD accepted", "tick-label", "middle"))
    turned = f'transform="rotate(-90 10 {middle:g})" x="10" y="{middle:g}" text-anchor="middle"'
    parts.append(f'<text class="tick-label" {turned}>% of ID kept</text>')
    return chart(WIDTH, HEIGHT, label, parts)


def _way(roc: Roc) -> str:
    """Return the curve as path data in tenths of a unit, points on a straight line left out."""
    xs = [_x(share) for share in roc.accepted]
    ys = [_y(share) for share in roc.kept]
    points = list(dict.fromkeys(zip(xs, ys, strict=True)))
    kept = [
        point
        for i, point in enumerate(points)
        if i in (0, len(points) - 1)
        or not (
            points[i - 1][0] == point[0] == points[i + 1][0]
            or points[i - 1][1] == point[1] == points[i + 1][1]
        )
    ]
    return "M" + "L".join(f"{x} {y}" for x, y in kept)


def _square(accepted: float, kept: float) -> str:
    x, y = float(_x(accepted)), float(_y(kept))
    return f'<path class="square" d="M{x - 4:.1f} {y - 4:.1f}h8v8h-8Z"/>'


def _x(share: float) -> str:
    return f"{LEFT + SIDE * share:.1f}"


def _y(share: float) -> str:
    return f"{TOP + SIDE * (1 - share):.1f}"
