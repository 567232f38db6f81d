"""A summary of the results in sentences, gains and losses alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from synood.benchmark.protocol.methods import titles
from synood.benchmark.results import tables
from synood.benchmark.results.results import MethodKind

if TYPE_CHECKING:
    from synood.benchmark.protocol.methods import Method
    from synood.benchmark.results.comparisons import Comparison, Verdict
    from synood.benchmark.results.results import Row

OURS = "synood"
PLUS = "synood-plus"  # the other recipe of ours, in the demo
RIVAL = "neglabel"
ALL = "average:all"
_NAMES = {"auroc": "AUROC", "fpr95": "FPR95"}
_ORDER: tuple[Verdict, ...] = ("better", "even", "worse")


@dataclass(frozen=True)
class Finding:
    """One sentence, and whether it is good or bad for SynOOD."""

    verdict: Verdict
    text: str


@dataclass(frozen=True)
class Summary:
    """A headline and the findings below it."""

    headline: str
    findings: tuple[Finding, ...]


def summarise_run(
    rows: Sequence[Row], comparisons: Sequence[Comparison], methods: Sequence[Method]
) -> Summary:
    """Summarise whether, and where, SynOOD is better than NegLabel, other methods and the controls.

    "Clear" means that the 95 % interval of `compare` is on one side of zero.
    """
    by_key = {(c.other, c.column, c.metric): c for c in comparisons if c.method == OURS}
    controls = [m for m in methods if m.is_control]
    named = titles(methods)
    plain = [m.name for m in methods if not m.is_control and m.name not in (RIVAL, OURS, PLUS)]
    return Summary(
        _headline(by_key, controls) + _plus_sentence(comparisons, plain, named),
        (
            *(_average_finding(rows, by_key, metric) for metric in _NAMES),
            *_group_findings(rows, by_key),
            _sets_finding(rows, by_key),
            *(_control_finding(by_key, control) for control in controls),
            *_fpr95_findings(comparisons, OURS, plain, named),
            *_fpr95_findings(comparisons, PLUS, [RIVAL, OURS, *plain], named),
            _best_finding(rows, methods),
        ),
    )


def summarise_comparisons(
    rows: Sequence[Row],
    comparisons: Sequence[Comparison],
    named: Mapping[str, str],
    headline: str,
) -> Summary:
    """Summarise which method is best, and every comparison over all sets.

    SynOOD's comparisons come first, then gains, ties and losses. The best inductive and the best
    test-time method are separate.
    """
    findings = []
    for kind in get_args(MethodKind):
        own = [row for row in rows if row.kind == kind]
        if len({row.method for row in own}) > 1:
            text = f"Best {kind} methods on average: {_best_text(_winners(own, named))}"
            findings.append(Finding("even", text))
    by_key = {(c.method, c.other, c.metric): c for c in comparisons if c.column == ALL}
    compared: list[tuple[str, Finding]] = []
    for method, other in dict.fromkeys((method, other) for method, other, _ in by_key):
        found = [
            by_key[method, other, metric] for metric in _NAMES if (method, other, metric) in by_key
        ]
        gains = "; ".join(f"{_NAMES[item.metric]} {_gain(item)}" for item in found)
        names = named.get(method, method), named.get(other, other)
        text = f"{names[0]} against {names[1]}, all sets: {gains}."
        compared.append((method, Finding(_joint(found[0].verdict, found[-1].verdict), text)))
    compared.sort(key=lambda item: (item[0] != OURS, _ORDER.index(item[1].verdict)))
    return Summary(headline, (*findings, *(finding for _, finding in compared)))


_ByKey = Mapping[tuple[str, str, str], "Comparison"]


def _headline(by_key: _ByKey, controls: Sequence[Method]) -> str:
    verdicts = [by_key[RIVAL, ALL, metric].verdict for metric in _NAMES]
    opening = {
        ("better", "better"): "SynOOD beats NegLabel here",
        ("better", "even"): "SynOOD beats NegLabel here on AUROC and is level with it on FPR95",
        ("even", "better"): "SynOOD beats NegLabel here on FPR95 and is level with it on AUROC",
        ("even", "even"): "SynOOD and NegLabel are level here",
        ("better", "worse"): "SynOOD gains on NegLabel in AUROC here and loses in FPR95",
        ("worse", "better"): "SynOOD gains on NegLabel in FPR95 here and loses in AUROC",
        ("even", "worse"): "SynOOD falls behind NegLabel here on FPR95 and is level on AUROC",
        ("worse", "even"): "SynOOD falls behind NegLabel here on AUROC and is level on FPR95",
        ("worse", "worse"): "SynOOD falls behind NegLabel here",
    }[verdicts[0], verdicts[1]]
    if "better" not in verdicts or not controls:
        return opening + "."
    equal = [f"“{c.title}”" for c in controls if not _beats(by_key, c)]
    if not equal:
        return f"{opening}, and every control."
    noun = "control" if len(equal) == 1 else "controls"
    return f"{opening}, but does not beat the {noun} {_listed(equal)}."


def _plus_sentence(
    comparisons: Sequence[Comparison], plain: Sequence[str], named: Mapping[str, str]
) -> str:
    """Say how plus compares with NegLabel, and what else is clearly better than it, by FPR95."""
    found = {
        item.other: item.verdict
        for item in comparisons
        if (item.method, item.column, item.metric) == (PLUS, ALL, "fpr95")
    }
    if RIVAL not in found:
        return ""
    opening = {"better": "beats NegLabel", "even": "is level with it", "worse": "falls behind it"}
    ahead = [named[other] for other in plain if found.get(other) == "worse"]
    rest = f"clearly better are {_listed(ahead)}" if ahead else "no distance is clearly better"
    return f" {named[PLUS]} {opening[found[RIVAL]]} by FPR95; {rest}."


def _beats(by_key: _ByKey, control: Method) -> bool:
    verdicts = [by_key[control.name, ALL, metric].verdict for metric in _NAMES]
    return "better" in verdicts and "worse" not in verdicts


def _average_finding(rows: Sequence[Row], by_key: _ByKey, metric: str) -> Finding:
    column = next(c for c in tables.columns(rows) if c.key == ALL)
    ours = tables.aggregate(rows, OURS, column, metric).mean
    theirs = tables.aggregate(rows, RIVAL, column, metric).mean
    comparison = by_key[RIVAL, ALL, metric]
    return Finding(
        comparison.verdict,
        f"Over all {len(column.sets)} OOD sets, SynOOD’s {_NAMES[metric]} is {100 * ours:.1f} and "
        f"NegLabel’s {100 * theirs:.1f}: {_gain(comparison)}.",
    )


def _group_findings(rows: Sequence[Row], by_key: _ByKey) -> list[Finding]:
    findings = []
    for column in tables.columns(rows):
        if column.is_average and column.key != ALL:
            auroc, fpr95 = (by_key[RIVAL, column.key, metric] for metric in _NAMES)
            findings.append(
                Finding(
                    _joint(auroc.verdict, fpr95.verdict),
                    f"On {column.group} OOD: AUROC {_gain(auroc)}; FPR95 {_gain(fpr95)}.",
                )
            )
    return findings


def _sets_finding(rows: Sequence[Row], by_key: _ByKey) -> Finding:
    behind = []
    for column in tables.columns(rows):
        if not column.is_average:
            worse = [m for m in _NAMES if by_key[RIVAL, column.key, m].verdict == "worse"]
            if worse:
                names = " and ".join(
                    f"{_NAMES[m]} {_points(by_key[RIVAL, column.key, m].gain)}" for m in worse
                )
                behind.append(f"{column.title} ({names})")
    if not behind:
        return Finding("even", "On no single OOD set is SynOOD clearly behind NegLabel.")
    return Finding("worse", f"SynOOD is clearly behind NegLabel on {_listed(behind)}.")


def _control_finding(by_key: _ByKey, control: Method) -> Finding:
    auroc, fpr95 = (by_key[control.name, ALL, metric] for metric in _NAMES)
    return Finding(
        _joint(auroc.verdict, fpr95.verdict),
        f"Against the control “{control.title}”: AUROC {_gain(auroc)}; FPR95 {_gain(fpr95)}.",
    )


def _fpr95_findings(
    comparisons: Sequence[Comparison], method: str, others: Sequence[str], named: Mapping[str, str]
) -> list[Finding]:
    """Say in one sentence how much lower a method's FPR95 is than that of several others."""
    found = {
        item.other: item
        for item in comparisons
        if (item.method, item.column, item.metric) == (method, ALL, "fpr95")
    }
    shown = [found[other] for other in others if other in found]
    if not shown:
        return []
    verdicts = {item.verdict for item in shown}
    joint: Verdict = "worse" if "worse" in verdicts else "even" if "even" in verdicts else "better"
    gains = ", ".join(f"{named[item.other]} {_span(item)}" for item in shown)
    return [Finding(joint, f"FPR95 gain of {named[method]} in points, over {gains}.")]


def _best_finding(rows: Sequence[Row], methods: Sequence[Method]) -> Finding:
    named = titles(methods)
    winners = _winners(rows, named)
    own = {named[name] for name in (OURS, PLUS) if name in named}
    first = [not own.isdisjoint(winners[metric]) for metric in _NAMES]
    verdict: Verdict = "better" if all(first) else "even" if any(first) else "worse"
    if winners["auroc"] == winners["fpr95"]:
        return Finding(verdict, f"Best on average in both metrics: {_listed(winners['auroc'])}.")
    return Finding(verdict, f"Best on average: {_best_text(winners)}")


def _winners(rows: Sequence[Row], named: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the titles of the best methods on average, for each metric."""
    winners = {}
    for metric in _NAMES:
        cells = tables.table(rows, metric)
        top = tables.best(cells, metric)[ALL]
        winners[metric] = [named.get(name, name) for name in cells if name in top]
    return winners


def _best_text(winners: Mapping[str, Sequence[str]]) -> str:
    if winners["auroc"] == winners["fpr95"]:
        return f"{_listed(winners['auroc'])} in both metrics."
    return f"{_listed(winners['auroc'])} in AUROC, {_listed(winners['fpr95'])} in FPR95."


def _gain(comparison: Comparison) -> str:
    span = _limits(comparison)
    size = f"{abs(100 * comparison.gain):.1f} points"
    if comparison.verdict == "even":
        return f"no clear difference, {_points(comparison.gain)} points {span}"
    word = "better" if comparison.verdict == "better" else "worse"
    return f"clearly {word} by {size} {span}"


def _span(comparison: Comparison) -> str:
    return f"{_points(comparison.gain)} {_limits(comparison)}"


def _limits(comparison: Comparison) -> str:
    return f"({_points(comparison.low)} to {_points(comparison.high)})"


def _points(fraction: float) -> str:
    text = f"{100 * fraction:+.1f}".replace("-", "−")
    return "0.0" if text[1:] == "0.0" else text


def _joint(first: Verdict, second: Verdict) -> Verdict:
    verdicts = {first, second}
    if verdicts == {"better", "worse"}:
        return "even"
    return "better" if "better" in verdicts else "worse" if "worse" in verdicts else "even"


def _listed(items: Sequence[str]) -> str:
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"
