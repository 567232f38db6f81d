"""The other records of `results.json`: methods, comparisons and published results."""

from __future__ import annotations

import math
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, cast, get_args

from synood.benchmark.protocol.methods import Method
from synood.benchmark.results.comparisons import MEASURES, Comparison
from synood.benchmark.results.published import Convention, Published
from synood.benchmark.results.results import DIGITS
from synood.benchmark.results.tables import methods as named_in
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from synood.benchmark.results.results import Results


def methods_to_json(methods: Iterable[Method]) -> list[dict[str, Any]]:
    """Return the records of methods as JSON values, for `run.methods` of results.json."""
    return [{**asdict(method), "needs": list(method.needs)} for method in methods]


def comparisons_to_json(comparisons: Iterable[Comparison]) -> list[dict[str, Any]]:
    """Return comparisons as JSON values, fractions to `DIGITS` digits."""
    return [
        {
            name: round(value, DIGITS) if isinstance(value, float) else value
            for name, value in asdict(item).items()
        }
        for item in comparisons
    ]


def methods_of(results: Results) -> tuple[Method, ...]:
    """Return a record for every method of the rows, in their order.

    It is the file's own, else the known one of that name, else one with only a title.
    """
    listed = _objects(results.run, "methods")
    own = {str(item.get("name")): _method(item) for item in listed}
    titles = results.run.get("titles")
    titles = titles if isinstance(titles, dict) else {}
    kinds = {row.method: row.kind for row in results.rows}
    known = {} if kinds.keys() <= own.keys() else _known()
    found = []
    for name in named_in(results.rows):
        method = own.get(name) or known.get(name)
        found.append(method or Method(name, str(titles.get(name, name)), "", kinds[name], ()))
    return tuple(found)


def comparisons_of(results: Results) -> tuple[Comparison, ...]:
    """Return the comparisons that the file holds; a malformed one is an `InputError`."""
    return tuple(
        _comparison(item, f"run.comparisons, entry {number}")
        for number, item in enumerate(_objects(results.run, "comparisons"))
    )


def published_of(results: Results) -> tuple[Published, ...]:
    """Return the published figures that the file holds; a malformed one is an `InputError`."""
    return tuple(
        _published(item, f"published, entry {number}")
        for number, item in enumerate(results.published)
    )


def _objects(run: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    value = run.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InputError(f"results: run.{name} must be a list of objects")
    return value


def _method(item: Mapping[str, Any]) -> Method:
    texts = {name: item.get(name) for name in ("name", "title", "paper")}
    needs, kind = item.get("needs"), item.get("kind")
    listed = isinstance(needs, list) and all(isinstance(need, str) for need in needs)
    if (
        not all(isinstance(text, str) for text in texts.values())
        or kind not in ("inductive", "test-time")
        or not listed
    ):
        raise InputError(
            f"results: run.methods, {texts['name']!r}: needs the texts name, title and paper, a "
            "kind (inductive or test-time), and a list of texts needs"
        )
    return Method(**texts, kind=kind, needs=tuple(needs), is_control=item.get("is_control") is True)  # type: ignore[arg-type]


def _known() -> dict[str, Method]:
    from synood.benchmark.protocol.controls import CONTROLS, NEG_IMAGE
    from synood.benchmark.systems import registry

    listed = [*(system.method for system in registry()), *CONTROLS, NEG_IMAGE]
    return {method.name: method for method in listed}


def _comparison(item: Mapping[str, Any], where: str) -> Comparison:
    _expect_fields(item, [field.name for field in fields(Comparison)], where)
    for name in ("method", "other", "column"):
        _expect_text(item, name, where)
    if item["metric"] not in MEASURES:
        raise InputError(f"results: {where}: 'metric' must be one of {MEASURES}")
    for name in ("gain", "low", "high"):
        if not _is_number(item[name]):  # an interval of few seeds may reach beyond a fraction
            raise InputError(f"results: {where}: {name!r} must be a number, not {item[name]!r}")
    return Comparison(**item)


def _published(item: Mapping[str, Any], where: str) -> Published:
    _expect_fields(item, [field.name for field in fields(Published)], where)
    for name in ("benchmark", "method", "ood_set", "source"):
        _expect_text(item, name, where)
    if item["convention"] not in get_args(Convention):
        raise InputError(f"results: {where}: 'convention' must be one of {get_args(Convention)}")
    for name in ("auroc", "fpr95"):
        if item[name] is not None and not (_is_number(item[name]) and 0 <= item[name] <= 1):
            raise InputError(f"results: {where}: {name!r} must be a fraction, not {item[name]!r}")
    return Published(**item)


def _expect_fields(item: Mapping[str, Any], names: Sequence[str], where: str) -> None:
    if sorted(item) != sorted(names):
        raise InputError(f"results: {where}: needs the fields {', '.join(names)} and no other")


def _expect_text(item: Mapping[str, Any], name: str, where: str) -> None:
    if not isinstance(item[name], str):
        raise InputError(f"results: {where}: {name!r} must be a text, not {item[name]!r}")


def _is_number(value: object) -> bool:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return real and math.isfinite(cast("float", value))
