"""What a detector makes of features, as nodes of a graph: the same steps as in `detector/`.

Distances, standardised evidence and log odds are computed in double precision, as there. The log
odds never leave logarithms, so that they hold at any distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from synood.detector.evidence import TAIL
from synood.scores import NegLabelScorer, normalise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from synood.deploy._graph import Graph
    from synood.detector import OODDetector
    from synood.detector.calibration import Calibration
    from synood.detector.evidence import ImageEvidence
    from synood.tuning.projection import Projection

    Doubles = NDArray[np.float64]
    Floats = NDArray[np.float32]


def add_verdicts(graph: Graph, detector: OODDetector, features: str) -> None:
    """Add every output for features (N, D), not normalised, and the input `threshold`."""
    dim, n_classes = detector.class_features.shape[1], len(detector.class_names)
    scored = _Scored.of(graph, detector, features)
    label = graph.op("ArgMax", scored.logits, axis=1, keepdims=0)
    given = graph.input("threshold", "float32", ["thresholds"], thresholds_of(detector))
    of_classes = graph.op("Expand", given, graph.constant([n_classes], "int64"))
    threshold = graph.op("Gather", of_classes, label)
    # not `Less`: a score that is no number is no sign of the classes
    is_ood = graph.op("Not", graph.op("GreaterOrEqual", scored.score, threshold))
    p_value = _p_value(graph, detector.calibration, scored.score, label, n_classes)
    logits = graph.cast(scored.logits, "float32")
    graph.output("features", features, "float32", ["images", dim])
    graph.output("score", scored.score, "float32", ["images"])
    graph.output("p_value", p_value, "float64", ["images"])
    graph.output("is_ood", is_ood, "bool", ["images"])
    graph.output("label", label, "int64", ["images"])
    graph.output("image_evidence", scored.looks, "float32", ["images"])
    graph.output("class_logits", logits, "float32", ["images", n_classes])


def thresholds_of(detector: OODDetector) -> Floats:
    """Return the threshold, or one for each class, as float32: (1,) or (C,).

    A threshold between two numbers of single precision becomes the upper one, so that every score
    has the verdict that it has in double precision. Without a threshold it is minus infinity.
    """
    found = [detector.threshold_of(row) for row in range(len(detector.class_names))]
    known = found[:1] if len({*found}) == 1 else found
    exact = np.array([-math.inf if value is None else value for value in known], np.float64)
    single = exact.astype(np.float32)
    return np.where(single < exact, np.nextafter(single, np.float32(math.inf)), single)


@dataclass(frozen=True)
class _Scored:
    """Names of the score (N,) and of what images alone say (N,), both single, and of the logits.

    These are what the class is the largest of: (N, C), double.
    """

    score: str
    looks: str
    logits: str

    @classmethod
    def of(cls, graph: Graph, detector: OODDetector, features: str) -> _Scored:
        evidence = detector.image_evidence
        if evidence is None:
            text, cosines = _text(graph, detector, features)
            factor = graph.constant(1 / detector.settings.temperature, "float64")
            logits = graph.op("Mul", graph.cast(cosines, "float64"), factor)
            score = graph.cast(text, "float32")
            return cls(score, _nothing(graph, score, "float32"), logits)
        text, cosines = _text(graph, detector, features) if evidence.uses_text else ("", "")
        return _fused(graph, evidence, _unit(graph, features), text, cosines)


def _text(graph: Graph, detector: OODDetector, features: str) -> tuple[str, str]:
    """Return the log odds (N,), double, and the cosines with the class names (N, C), single."""
    chosen = detector.settings
    scorer = NegLabelScorer.from_features(
        detector.class_features,
        detector.negative_features,
        chosen.temperature,
        chosen.groups,
        chosen.seed,
    )
    rows = features
    if detector.projection is not None:
        rows = _projected(graph, detector.projection, features)
    units = _unit(graph, rows)
    classes = graph.constant(normalise(detector.class_features).T, "float32")
    bounds = [graph.constant(bound, "float32") for bound in (-1.0, 1.0)]
    cosines = graph.op("Clip", graph.op("MatMul", units, classes), *bounds)
    return _log_odds(graph, scorer, units), cosines


def _projected(graph: Graph, projection: Projection, features: str) -> str:
    """z + max(0, LN(W z + b)): equation 11."""
    weight, bias, gain, shift = (
        graph.constant(values, "float32")
        for values in (
            projection.weight,
            projection.bias,
            projection.norm_weight,
            projection.norm_bias,
        )
    )
    mapped = graph.op("Gemm", features, weight, bias, transB=1)
    centred = graph.op("Sub", mapped, graph.along("ReduceMean", mapped, 1, keep=True))
    variance = graph.along("ReduceMean", graph.op("Mul", centred, centred), 1, keep=True)
    spread = graph.op("Add", variance, graph.constant(projection.eps, "float32"))
    normed = graph.op("Div", centred, graph.op("Sqrt", spread))
    added = graph.op("Add", graph.op("Mul", normed, gain), shift)
    return graph.op("Add", features, graph.op("Relu", added))


def _unit(graph: Graph, rows: str) -> str:
    """Rows (N, D) at unit length, single; the lengths are summed in double precision."""
    values = graph.cast(rows, "float64")
    squares = graph.along("ReduceSum", graph.op("Mul", values, values), 1, keep=True)
    return graph.cast(graph.op("Div", values, graph.op("Sqrt", squares)), "float32")


def _log_odds(graph: Graph, scorer: NegLabelScorer, units: str) -> str:
    """Log odds of the classes against the groups of negative labels: see `scores/_odds.py`."""
    n_negatives = len(scorer.text) - scorer.n_classes
    scaled = graph.op("Div", units, graph.constant(scorer.temperature, "float32"))
    product = graph.op("MatMul", scaled, graph.constant(scorer.text.T, "float32"))
    logits = graph.cast(product, "float64")
    axis = graph.constant([1], "int64")
    places = [0, scorer.n_classes, scorer.n_classes + n_negatives]
    classes, negatives = (
        graph.op("Slice", logits, *(graph.constant([end], "int64") for end in pair), axis)
        for pair in pairwise(places)
    )
    grouped = graph.op("Reshape", negatives, graph.constant([0, scorer.groups, -1], "int64"))
    of_classes = graph.along("ReduceLogSumExp", classes, 1, keep=True)
    of_groups = graph.along("ReduceLogSumExp", grouped, 2)
    against = graph.op("Sub", of_groups, of_classes)
    for_classes = graph.op("Neg", against)
    inside, outside = (_log_sigmoid(graph, value) for value in (for_classes, against))
    sums = [graph.along("ReduceLogSumExp", value, 1) for value in (inside, outside)]
    return graph.op("Sub", *sums)


def _log_sigmoid(graph: Graph, value: str) -> str:
    """min(x, 0) - log(1 + exp(-|x|))."""
    zero, one = (graph.constant(number, "float64") for number in (0.0, 1.0))
    rest = graph.op("Exp", graph.op("Neg", graph.op("Abs", value)))
    return graph.op(
        "Sub", graph.op("Min", value, zero), graph.op("Log", graph.op("Add", one, rest))
    )


def _fused(graph: Graph, evidence: ImageEvidence, units: str, text: str, cosines: str) -> _Scored:
    """Weigh the parts of the evidence; what has no weight is left out of the score."""
    near = graph.op("Neg", _distances(graph, evidence, units))
    by_class = [near]
    nothing = graph.constant(0.0, "float64")
    values = [text, graph.along("ReduceMax", near, 1), nothing, nothing]
    if len(evidence.neighbours):
        known = graph.constant(evidence.neighbours.T, "float32")
        values[2] = graph.cast(
            graph.along("ReduceMax", graph.op("MatMul", units, known), 1), "float64"
        )
    if len(evidence.head_bias):
        weight, bias = (
            graph.constant(part, "float32") for part in (evidence.head_weight, evidence.head_bias)
        )
        logits = graph.cast(graph.op("Gemm", units, weight, bias, transB=1), "float64")
        values[3] = graph.along("ReduceMax", logits, 1)
        by_class.append(logits)
    if cosines:
        by_class.append(graph.cast(cosines, "float64"))
    logits = _summed(graph, [_standardised(graph, value) for value in by_class])
    standard = _standard(graph, evidence, values)
    score = _score(graph, evidence, standard)
    looks = _looks(graph, evidence, standard) or _nothing(graph, score, "float32")
    return _Scored(score, looks, logits)


def _distances(graph: Graph, evidence: ImageEvidence, units: str) -> str:
    """Squared Mahalanobis distances to the class means: (N, C), double."""
    middle, whitening, centres = (
        graph.doubles(part) for part in (evidence.middle, evidence.whitening, evidence.centres.T)
    )
    centred = graph.op("Sub", graph.cast(units, "float64"), middle)
    white = graph.op("MatMul", centred, whitening)
    own = graph.along("ReduceSum", graph.op("Mul", white, white), 1, keep=True)
    theirs = (evidence.centres.astype(np.float64) ** 2).sum(axis=1)
    lengths = graph.op("Add", own, graph.constant(theirs, "float64"))
    zero, two = (graph.constant(number, "float64") for number in (0.0, 2.0))
    products = graph.op("Mul", two, graph.op("MatMul", white, centres))
    return graph.op("Max", graph.op("Sub", lengths, products), zero)


def _standard(graph: Graph, evidence: ImageEvidence, values: Sequence[str]) -> dict[int, str]:
    """Standardise the values that have a weight: their names (N,), double, by place in `PARTS`."""
    found = {}
    for place in np.flatnonzero(evidence.weights > 0).tolist():
        location, scale = (
            graph.constant(float(part[place]), "float64")
            for part in (evidence.location, evidence.scale)
        )
        found[place] = graph.op("Div", graph.op("Sub", values[place], location), scale)
    return found


def _weighed(graph: Graph, standard: Mapping[int, str], weights: Doubles) -> str:
    """Add standardised values by their weights (4,): (N,), double."""
    terms = [
        graph.op("Mul", value, graph.constant(float(weights[place]), "float64"))
        for place, value in standard.items()
    ]
    return _summed(graph, terms)


def _score(graph: Graph, evidence: ImageEvidence, standard: Mapping[int, str]) -> str:
    """Log odds of the weighted sum: (N,), single; see `ImageEvidence.fuse`."""
    total = _weighed(graph, standard, evidence.weights.astype(np.float64))
    mean, deviation = (graph.constant(float(part), "float64") for part in evidence.fused)
    value = graph.op("Div", graph.op("Sub", total, mean), deviation)
    tail, factor = (graph.constant(number, "float64") for number in (TAIL, 2 * TAIL))
    return graph.cast(graph.op("Mul", factor, graph.op("Add", value, tail)), "float32")


def _looks(graph: Graph, evidence: ImageEvidence, standard: Mapping[int, str]) -> str:
    """What images alone say: (N,), single, or "" as in `ImageEvidence.apart_from_text`."""
    weights = evidence.weights.astype(np.float64)
    weights[0] = 0.0
    if not evidence.uses_text or not weights.any():
        return ""
    images = {place: value for place, value in standard.items() if place}
    return graph.cast(_weighed(graph, images, weights / weights.sum()), "float32")


def _nothing(graph: Graph, like: str, kind: str) -> str:
    """Not a number for each image."""
    return graph.op("Expand", graph.constant(math.nan, kind), graph.op("Shape", like))


def _summed(graph: Graph, terms: Sequence[str]) -> str:
    total = terms[0]
    for term in terms[1:]:
        total = graph.op("Add", total, term)
    return total


def _standardised(graph: Graph, values: str) -> str:
    """Bring each row to mean 0 and deviation 1."""
    centred = graph.op("Sub", values, graph.along("ReduceMean", values, 1, keep=True))
    variance = graph.along("ReduceMean", graph.op("Mul", centred, centred), 1, keep=True)
    least = graph.constant(1e-12, "float64")
    return graph.op("Div", centred, graph.op("Max", graph.op("Sqrt", variance), least))


def _p_value(
    graph: Graph, found: Calibration | None, score: str, label: str, n_classes: int
) -> str:
    """(1 + #{calibration <= s}) / (n + 1) of the image's group; not a number without scores."""
    if found is None or found.scores is None:
        return _nothing(graph, score, "float64")
    groups = _groups(found, n_classes)
    known = graph.constant(np.concatenate(groups.scores), "float32")
    last = graph.constant([1], "int64")
    below = graph.op("LessOrEqual", known, graph.op("Unsqueeze", score, last))
    sizes = [len(scores) for scores in groups.scores]
    own = graph.op("Gather", graph.constant(groups.of_class, "int64"), label)
    if len(sizes) > 1:
        members = graph.constant(np.repeat(np.arange(len(sizes)), sizes), "int64")
        same = graph.op("Equal", members, graph.op("Unsqueeze", own, last))
        below = graph.op("And", below, same)
    count = graph.along("ReduceSum", graph.cast(below, "float64"), 1)
    one = graph.constant(1.0, "float64")
    total = graph.op("Gather", graph.constant([size + 1 for size in sizes], "float64"), own)
    return graph.op("Div", graph.op("Add", one, count), total)


@dataclass(frozen=True)
class _Groups:
    """Calibration scores by group, and which group each class has."""

    scores: list[Floats]
    of_class: list[int]


def _groups(found: Calibration, n_classes: int) -> _Groups:
    if found.groups is None:
        assert found.scores is not None
        return _Groups([found.scores], [0] * n_classes)
    own = sorted(found.groups.own)
    scores = [found.groups.rest, *(found.groups.own[row] for row in own)]
    places = {row: place for place, row in enumerate(own, start=1)}
    return _Groups(scores, [places.get(row, 0) for row in range(n_classes)])
