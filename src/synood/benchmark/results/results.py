"""`results.json`: a row per method, OOD set and seed, read back with every field checked."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, cast

from synood.artifacts import mistaken_for
from synood.errors import InputError
from synood.files import read_json, write_json
from synood.metrics import OODMetrics, bootstrap_interval, ood_metrics

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

SCHEMA = 1
METRICS = ("auroc", "aupr_in", "aupr_out", "fpr95", "fpr95_ood_positive")
LOWER_IS_BETTER = frozenset({"fpr95", "fpr95_ood_positive"})
DIGITS = 6  # of a fraction on disk: far finer than a test set can resolve

MethodKind = Literal["inductive", "test-time"]
OodGroup = Literal["near", "far"]


@dataclass(frozen=True)
class Row:
    """The result of one method on one OOD set under one seed; metrics are fractions in [0, 1].

    `fpr95` is the fraction of OOD images accepted when 95 % of in-distribution ones are accepted;
    `fpr95_ood_positive` is the fraction of in-distribution images rejected when 95 % of OOD are
    rejected. `ci95` holds one (low, high) per metric: a bootstrap over the test images, so it
    says how far the metric would move with other images, not with another seed. `stream` says in
    which order a test-time method saw the images; other methods have none.
    """

    method: str
    kind: MethodKind
    ood_set: str
    group: OodGroup
    seed: int
    n_id: int
    n_ood: int
    auroc: float
    aupr_in: float
    aupr_out: float
    fpr95: float
    fpr95_ood_positive: float
    ci95: Mapping[str, tuple[float, float]]
    stream: Mapping[str, Any] | None = None

    def value(self, metric: str) -> float:
        """Return the fraction of `metric`, one of `METRICS`."""
        return cast("float", getattr(self, metric))


@dataclass(frozen=True)
class Results:
    """A whole `results.json`: what was run (recipe, models, versions, choices) and the rows.

    `published` are published results with their sources, which are never among the rows.
    """

    run: Mapping[str, Any]
    rows: tuple[Row, ...]
    published: tuple[Mapping[str, Any], ...] = ()


def make_row(
    method: str,
    kind: MethodKind,
    ood_set: str,
    group: OodGroup,
    seed: int,
    id_scores: np.ndarray,
    ood_scores: np.ndarray,
    resamples: int = 200,
    stream: Mapping[str, Any] | None = None,
) -> Row:
    """Measure one row from the scores (N,) and (M,) of both sides, higher = in-distribution."""
    metrics = ood_metrics(id_scores, ood_scores)
    intervals = bootstrap_interval(id_scores, ood_scores, resamples=resamples, seed=0)
    return Row(
        method=method,
        kind=kind,
        ood_set=ood_set,
        group=group,
        seed=seed,
        n_id=len(id_scores),
        n_ood=len(ood_scores),
        **{name: _metric(metrics, name) for name in METRICS},
        ci95={name: _interval(intervals[name]) for name in METRICS},
        stream=stream,
    )


def write_results(path: Path, results: Results) -> None:
    """Write `results` as JSON, atomically; equal results give equal bytes."""
    rows = [_row_to_json(row) for row in results.rows]
    others = {"published": [dict(row) for row in results.published]} if results.published else {}
    write_json(path, {"schema": SCHEMA, "run": dict(results.run), "rows": rows, **others})


def read_results(path: Path) -> Results:
    """Read a `results.json`; an `InputError` names the file, the row and the wrong field."""
    if not path.is_file() and (mistake := mistaken_for(path.parent, "a directory of results")):
        raise InputError(f"{mistake}; `synood evaluate`, `demo` and `reproduce` write results")
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a results file, its top level is not an object")
    if value.get("schema") != SCHEMA:
        raise InputError(
            f"{path}: schema is {value.get('schema')!r}, this version reads {SCHEMA}; "
            "write it again with this version"
        )
    run, rows = value.get("run"), value.get("rows")
    if not isinstance(run, dict) or not isinstance(rows, list):
        raise InputError(f"{path}: a results file needs an object `run` and a list `rows`")
    parsed = tuple(_row_from_json(row, f"{path}, row {i}") for i, row in enumerate(rows))
    _refuse_repeats(path, parsed)
    others = value.get("published", [])
    if not isinstance(others, list) or not all(isinstance(row, dict) for row in others):
        raise InputError(f"{path}: `published` must be a list of objects")
    return Results(run=run, rows=parsed, published=tuple(others))


def _metric(metrics: OODMetrics, name: str) -> float:
    return round(float(getattr(metrics, name)), DIGITS)


def _interval(interval: tuple[float, float]) -> tuple[float, float]:
    return round(float(interval[0]), DIGITS), round(float(interval[1]), DIGITS)


def _row_to_json(row: Row) -> dict[str, Any]:
    values = {field.name: getattr(row, field.name) for field in fields(Row)}
    values["ci95"] = {name: list(pair) for name, pair in row.ci95.items()}
    if row.stream is None:
        del values["stream"]
    else:
        values["stream"] = dict(row.stream)
    return values


def _row_from_json(value: object, where: str) -> Row:
    if not isinstance(value, dict):
        raise InputError(f"{where}: not an object")
    names = {field.name for field in fields(Row)}
    for name in sorted(names - value.keys() - {"stream"}):
        raise InputError(f"{where}: the field {name!r} is missing")
    for name in sorted(value.keys() - names):
        raise InputError(f"{where}: {name!r} is not a field of a row")
    for name in ("method", "ood_set"):
        if not isinstance(value[name], str) or not value[name]:
            raise InputError(f"{where}: {name!r} must be a name, not {value[name]!r}")
    _expect(value, "kind", ("inductive", "test-time"), where)
    _expect(value, "group", ("near", "far"), where)
    for name in ("seed", "n_id", "n_ood"):
        _check_count(value[name], f"{where}: {name!r}")
    for name in METRICS:
        _check_fraction(value[name], f"{where}: {name!r}")
    if not isinstance(value.get("stream"), dict | None):
        raise InputError(f"{where}: 'stream' must be an object, not {value['stream']!r}")
    return Row(**{**value, "ci95": _intervals_from_json(value["ci95"], where)})


def _intervals_from_json(value: object, where: str) -> dict[str, tuple[float, float]]:
    if not isinstance(value, dict) or set(value) != set(METRICS):
        raise InputError(f"{where}: 'ci95' must hold one [low, high] for each of {METRICS}")
    intervals = {}
    for name in METRICS:
        pair = value[name]
        if not isinstance(pair, list) or len(pair) != 2:
            raise InputError(f"{where}: 'ci95' of {name!r} must be [low, high], not {pair!r}")
        for end in pair:
            _check_fraction(end, f"{where}: 'ci95' of {name!r}")
        if pair[0] > pair[1]:
            raise InputError(f"{where}: 'ci95' of {name!r} must not be [high, low]: {pair!r}")
        intervals[name] = (float(pair[0]), float(pair[1]))
    return intervals


def _expect(value: Mapping[str, Any], name: str, allowed: tuple[str, ...], where: str) -> None:
    if value[name] not in allowed:
        raise InputError(f"{where}: {name!r} must be one of {allowed}, not {value[name]!r}")


def _check_count(value: object, where: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InputError(f"{where} must be a whole number of at least 0, not {value!r}")


def _check_fraction(value: object, where: str) -> None:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    if not real or not math.isfinite(cast("float", value)) or not 0 <= cast("float", value) <= 1:
        raise InputError(f"{where} must be a fraction between 0 and 1, not {value!r}")


def _refuse_repeats(path: Path, rows: tuple[Row, ...]) -> None:
    seen: set[tuple[str, str, int]] = set()
    for row in rows:
        key = (row.method, row.ood_set, row.seed)
        if key in seen:
            raise InputError(f"{path}: two rows of method, OOD set and seed {key}")
        seen.add(key)
