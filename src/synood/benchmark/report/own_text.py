"""What `evaluate` prints: tables, verdicts at the threshold, and paired differences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synood.benchmark.protocol.methods import titles
from synood.benchmark.protocol.own_sets import ALL_OOD, INSIDE
from synood.benchmark.report.records import methods_of
from synood.benchmark.report.summary import ALL
from synood.benchmark.results.tables import title_of
from synood.benchmark.results.text import LEGEND, aligned, table_with_published, text_table
from synood.detector.calibration import wilson_interval
from synood.detector.conformal import chance_of_keeping, conformal_rank

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synood.benchmark.protocol.own_sets import OperatingPoint
    from synood.benchmark.results.comparisons import Comparison
    from synood.benchmark.results.results import Results

METRICS = ("auroc", "fpr95", "fpr95_ood_positive")
CHANCE = 0.01  # below which keeping so few images is no chance


def evaluation_text(
    results: Results,
    benchmark: str | None,
    points: Sequence[OperatingPoint],
    labels: tuple[int, int],
    comparisons: Sequence[Comparison],
) -> str:
    """Return tables, what each detector does at its threshold, and differences, as text."""
    titled = titles(methods_of(results))
    if benchmark is not None:
        parts = [table_with_published(results, benchmark, titled)]
    else:
        parts = [text_table(results.rows, titled, metrics=METRICS)]
    parts += [LEGEND] if len(titled) > 1 else []
    for name in dict.fromkeys(point.method for point in points):
        own = [point for point in points if point.method == name]
        parts.append(operating_text(own, titled[name]))
        if name == results.run["method"]:
            remark = kept_remark(own[0].count, own[0].images, results.run["calibration"])
            parts += [remark] if remark else []
    if not points:
        parts.append("No threshold yet, so no verdicts to count: `synood calibrate` sets one.")
    if labels[1]:
        parts.append(label_text(*labels))
    if comparisons:
        parts.append(comparison_text(comparisons, titled))
    return "\n\n".join(parts)


def operating_text(points: Sequence[OperatingPoint], title: str) -> str:
    """Return what a detector does at its threshold: kept and caught, with intervals."""
    rows = [("", "", "", "95 % interval", "images")]
    rows += [
        (
            set_title(point.set),
            "kept" if point.group == "id" else "caught",
            f"{100 * point.fraction:.1f} %",
            f"{100 * point.low:.1f} to {100 * point.high:.1f}",
            f"{point.images:,}",
        )
        for point in points
    ]
    head = f"{title} at its threshold, {points[0].threshold:.2f} (log odds)"
    return "\n".join([head, *aligned(rows, left=2)])


def kept_remark(kept: int, images: int, calibration: Mapping[str, Any] | None) -> str:
    """Say that a detector keeps too few images for its calibration; empty where it may not.

    With few calibration images or few new ones that happens by chance: it is said where such
    chance is below 1 %. `calibration` holds the number of `images` and the `tpr_wanted`.
    """
    if calibration is None:
        return ""
    known, wanted = int(calibration["images"]), float(calibration["tpr_wanted"])
    rank = conformal_rank(known, wanted)
    if rank == 0 or chance_of_keeping(known, rank, kept, images) >= CHANCE:
        return ""
    return (
        f"It was calibrated to keep {100 * wanted:g} % and keeps fewer: these in-distribution "
        "images are unlike those of its calibration. `synood calibrate` with images like these "
        "mends that."
    )


def label_text(right: int, images: int) -> str:
    """Return how often the nearest class is the image's own, by its folder."""
    low, high = wilson_interval(right, images)
    return (
        f"Nearest class right for {100 * right / images:.1f} % ({100 * low:.1f} to "
        f"{100 * high:.1f}) of {images:,} in-distribution images with a class"
    )


def comparison_text(comparisons: Sequence[Comparison], titles: Mapping[str, str]) -> str:
    """Return the gains of the first method over the others, averaged over all OOD sets."""
    shown = [item for item in comparisons if item.column == ALL]
    method = shown[0].method
    others = dict.fromkeys(item.other for item in shown)
    found = {(item.other, item.metric): item for item in shown}
    rows = [("over", "AUROC", "", "FPR95", "")]
    rows += [
        (titles.get(other, other), *_gain(found[other, "auroc"]), *_gain(found[other, "fpr95"]))
        for other in others
    ]
    head = (
        f"Gain of {titles.get(method, method)} in points, all OOD sets, with the 95 % interval of "
        "a paired bootstrap over the images"
    )
    return "\n".join([head, *aligned(rows, left=5)])


def set_title(name: str) -> str:
    """Return the printed name of a set."""
    return name if name in (INSIDE, ALL_OOD) else title_of(name)


def _gain(item: Comparison) -> tuple[str, str]:
    """Return a gain with its interval, and a word where zero lies outside it."""
    text = f"{100 * item.gain:+.1f} ({100 * item.low:+.1f} to {100 * item.high:+.1f})"
    return text, "" if item.verdict == "even" else item.verdict
