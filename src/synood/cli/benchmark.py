"""`synood benchmark`: the known benchmarks, whether one is complete on disk, and the systems."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - the command line reads the annotations
from typing import TYPE_CHECKING, Literal

from cyclopts import App

from synood.cli.console import deliver, deliver_data, table_text
from synood.cli.exits import DONE, INPUT_FAULT

if TYPE_CHECKING:
    from synood.benchmark.suites.verify import Check

benchmark = App(
    name="benchmark", help="List and check benchmarks; list the compared systems.", sort_key=9
)


@benchmark.command(name="list")
def list_(*, format: Literal["table", "json"] = "table") -> None:
    """List the known benchmarks with their image sets.

    Parameters
    ----------
    format
        Format of the output.
    """
    import json
    from dataclasses import asdict

    from synood.benchmark.suites.catalog import BENCHMARKS

    if format == "json":
        rows = [asdict(item) for item in BENCHMARKS.values()]
        return deliver_data(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    for item in BENCHMARKS.values():
        sets = [
            ["  " + known.role, known.group, f"{known.count:>9,}", known.name]
            for known in item.sets
        ]
        body = table_text(sets) if sets else ""
        deliver(f"{item.name}: {item.title}\n  {item.paper}\n  {item.note}\n{body}\n")
    return None


@benchmark.command
def check(
    name: str, /, *, root: Path | None = None, format: Literal["table", "json"] = "table"
) -> int:
    """Check that a benchmark is complete on disk; the exit code is 2 if it is not.

    Parameters
    ----------
    name
        Name of the benchmark (see `synood benchmark list`).
    root
        Folder that holds the benchmark's image sets; the cache folder for the embedded ones.
    format
        Format of the output.
    """
    import json

    from synood.benchmark.suites.verify import check_benchmark

    found = check_benchmark(name, root)
    if format == "json":
        deliver_data(json.dumps(found.to_json(), indent=2, ensure_ascii=False) + "\n")
    else:
        deliver(_check_text(found))
    return DONE if found.ok else INPUT_FAULT


def _check_text(found: Check) -> str:
    """Return a line per set with its problems below it, and where to get incomplete sets."""
    if not found.sets:
        return f"{found.benchmark} in {found.root}\n{found.note}\n"
    cells = [["", "set", "use", "images", "expected", "below the root"]]
    for item in found.sets:
        mark = "ok" if item.ok else "MISSING" if item.place is None else "WRONG"
        counts = [f"{item.found:,}", f"{item.expected:,}"]
        cells.append([mark, item.name, item.role, *counts, item.place or "-"])
    head, *rows = table_text(cells).splitlines(keepends=True)
    lines = [f"{found.benchmark} in {found.root}\n", head]
    for row, item in zip(rows, found.sets, strict=True):
        lines += [row, *(f"    {problem}\n" for problem in item.problems)]
    sources: dict[str, list[str]] = {}
    for item in found.sets:
        if not item.ok:
            sources.setdefault(item.source, []).append(item.name)
    lines += [f"get {', '.join(names)}: {source}\n" for source, names in sources.items()]
    wrong = sum(not item.ok for item in found.sets)
    lines.append(
        "complete\n" if found.ok else f"{wrong} of {len(found.sets)} sets are incomplete\n"
    )
    return "".join(lines)


@benchmark.command
def methods() -> None:
    """List the compared systems by kind and year, with their papers and what they need."""
    from synood.benchmark.systems import registry

    systems = [system.method for system in registry()]
    width = max(len(method.name) for method in systems)
    for method in sorted(systems, key=lambda method: (method.kind, method.year or 0, method.title)):
        head = f"{method.name:<{width}}  {method.kind}  {method.year or '-'}"
        deliver(f"{head}  {method.title}: {method.paper}\n")
        deliver(f"{'':<{width}}  {method.url or '-'}\n")
        deliver(f"{'':<{width}}  needs {', '.join(method.needs)}\n")
