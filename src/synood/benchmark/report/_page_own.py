"""The page of an `evaluate` file: what a detector does with somebody's own images, in words too."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

import numpy as np

from synood.benchmark.protocol.methods import titles
from synood.benchmark.protocol.outside_scores import LARGEST
from synood.benchmark.protocol.own_sets import ALL_OOD, INSIDE
from synood.benchmark.report.own_text import kept_remark, label_text, set_title
from synood.benchmark.report.records import comparisons_of, methods_of
from synood.benchmark.report.report import Distribution, Mistake, Mistakes, Report, ShownPair
from synood.benchmark.report.summary import Finding, Summary, summarise_comparisons
from synood.benchmark.results.tables import aggregate, columns, title_of
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synood.benchmark.results.results import Results, Row


def is_own(results: Results) -> bool:
    """Whether results are of `evaluate` on one's own images or on a benchmark."""
    return isinstance(results.run.get("scored"), list) and "method" in results.run


def own_report(results: Results, file: str) -> Report:
    """Return the page of an `evaluate` file of this name; everything on it is in the file."""
    run = results.run
    methods, comparisons = methods_of(results), comparisons_of(results)
    named, name = titles(methods), str(run["method"])
    title = named.get(name, name)
    base = summarise_comparisons(results.rows, comparisons, named, _headline(results, name, title))
    own = (*_verdicts(run, title, name), *_by_set(results.rows, name, title))
    threshold = run["threshold"]
    return Report(
        results=results,
        methods=methods,
        comparisons=comparisons,
        summary=Summary(base.headline, (*own, *base.findings)),
        distributions=_distributions(run["scored"], name),
        threshold=None if threshold is None else float(threshold),
        pairs=tuple(_pair(row) for row in run.get("paintings", ())),
        facts={**_facts(run, title), "file": file},
        notes=tuple(str(note) for note in run.get("remarks", ())),
        mistakes=tuple(_mistakes(item) for item in run["mistakes"]),
    )


def _headline(results: Results, name: str, title: str) -> str:
    average = next(column for column in columns(results.rows) if column.key == "average:all")
    auroc, fpr95 = (aggregate(results.rows, name, average, m).mean for m in ("auroc", "fpr95"))
    sets = "one OOD set" if len(average.sets) == 1 else f"{len(average.sets)} OOD sets on average"
    return f"{title}: AUROC {100 * auroc:.1f} %, FPR95 {100 * fpr95:.1f} % over {sets}"


def _verdicts(run: Mapping[str, Any], title: str, name: str) -> list[Finding]:
    """Say what the detector does at its own threshold, and whether it keeps what it should."""
    points = [point for point in run["operating_points"] if point["method"] == name]
    if not points:
        return [Finding("even", f"{title} has no threshold yet: `synood calibrate` sets one.")]
    kept = next(point for point in points if point["set"] == INSIDE)
    caught = next((p for p in points if p["set"] == ALL_OOD), points[-1])
    found = [
        Finding(
            "even",
            f"At its threshold, {title} keeps {_share(kept)} of the in-distribution images and "
            f"catches {_share(caught)} of the OOD images.",
        )
    ]
    labels = run.get("labels") or {"images": 0}
    if labels["images"]:
        right, images = int(labels["right"]), int(labels["images"])
        found.append(Finding("even", f"{label_text(right, images)}."))
    if remark := kept_remark(int(kept["count"]), int(kept["images"]), run.get("calibration")):
        found.append(Finding("worse", remark))
    return found


def _share(point: Mapping[str, Any]) -> str:
    ends = f"{100 * point['low']:.1f} to {100 * point['high']:.1f}"
    return f"{100 * point['fraction']:.1f} % ({ends}; {point['count']:,} of {point['images']:,})"


def _by_set(rows: Sequence[Row], name: str, title: str) -> list[Finding]:
    """Name the easiest and the hardest OOD set."""
    own = sorted((row for row in rows if row.method == name), key=lambda row: row.fpr95)
    if len(own) < 2:
        return []
    easy, hard = own[0], own[-1]
    text = (
        f"{title} tells {title_of(hard.ood_set)} worst (FPR95 {_percent(hard)}) and "
        f"{title_of(easy.ood_set)} best (FPR95 {_percent(easy)})."
    )
    return [Finding("even", text)]


def _percent(row: Row) -> str:
    low, high = row.ci95["fpr95"]
    return f"{100 * row.fpr95:.1f}, interval {100 * low:.1f} to {100 * high:.1f}"


def _distributions(scored: Sequence[Mapping[str, Any]], name: str) -> tuple[Distribution, ...]:
    by_set = {item["set"]: item for item in scored}
    if INSIDE not in by_set:
        return ()
    inside = _scores(by_set[INSIDE], name)
    return tuple(
        Distribution(title_of(item["set"]), str(item["group"]), inside, _scores(item, name))
        for item in scored
        if item["set"] != INSIDE
    )


def _scores(item: Mapping[str, Any], name: str) -> np.ndarray:
    try:
        values = np.array(item["scores"][name], np.float32)
    except (ValueError, TypeError):
        raise InputError(f"results: run.scored, {item['set']!r}: scores must be numbers") from None
    usable = values.ndim == 1 and values.size and np.abs(values).max() <= LARGEST  # no for NaN
    if not usable:
        raise InputError(f"results: run.scored, {item['set']!r}: needs a finite score an image")
    return values


def _facts(run: Mapping[str, Any], title: str) -> dict[str, str]:
    sets = run["sets"]
    outside = sum(int(item["images"]) for name, item in sets.items() if name != INSIDE)
    made = run["detector"]
    calibration = run.get("calibration")
    facts = {
        "eyebrow": f"bundle {run['models']['bundle']} · recipe {made['recipe']}",
        "lede": f"{len(made['class_names']):,} classes, {int(sets[INSIDE]['images']):,} "
        f"in-distribution images against {outside:,} OOD images in {len(sets) - 1} "
        f"set{'s' if len(sets) > 2 else ''}.",
        "scores": f"The scores of {title} (log odds, higher = more in-distribution)",
    }
    if calibration:
        facts["threshold"] = (
            f"The threshold was set on {calibration['images']:,} images to keep "
            f"{100 * calibration['tpr_wanted']:g} % of the in-distribution ones; scores to its "
            "right are accepted."
        )
    elif run["threshold"] is not None:
        facts["threshold"] = "The threshold was set by hand; scores to its right are accepted."
    return facts


def _mistakes(item: Mapping[str, Any]) -> Mistakes:
    shown = tuple(
        Mistake(
            _image(one["thumbnail"]),
            str(one["image"]),
            float(one["score"]),
            str(one["nearest_class"]),
            str(one["nearest_negative"]),
            bool(one["wrong"]),
            one["label"],
            None if one.get("p_value") is None else float(one["p_value"]),
        )
        for one in item["shown"]
    )
    return Mistakes(
        set_title(str(item["set"])), str(item["group"]), item["count"], int(item["total"]), shown
    )


def _pair(row: Mapping[str, Any]) -> ShownPair:
    return ShownPair(
        source=_image(row["source"]),
        synthetic=_image(row["synthetic"]),
        label=str(row["class"]),
        prompt=str(row["prompt"]),
        negative_label=str(row["negative_label"]),
        source_energy=float(row["energy_before"]),
        energies=tuple(float(value) for value in row["energies"]),
        stop=str(row["stop"]),
    )


def _image(text: object) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        raise InputError("results: an image of the file is not base64 text") from None
