"""`synood benchmark list` and `check`: which benchmarks there are, and is one on disk whole."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - the command line reads the annotations
from typing import TYPE_CHECKING, Literal

from synood.cli.benchmark import benchmark

if TYPE_CHECKING:
    from synood.benchmark.suites.verify import Check

INCOMPLETE = 2


@benchmark.command(name="list")
def list_(*, format: Literal["table", "json"] = "table") -> None:
    """Say which benchmarks are known, with their sets.

    Parameters
    ----------
    format
        How the list is written.
    """
    import json
    from dataclasses import asdict

    from synood.benchmark.suites.catalog import BENCHMARKS
    from synood.cli.console import deliver, table_text

    if format == "json":
        rows = [asdict(item) for item in BENCHMARKS.values()]
        return deliver(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
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
    """Compare a benchmark on disk with what its owners ship; exit code 2 when something is amiss.

    Parameters
    ----------
    name
        Name of the benchmark, one of `synood benchmark list`.
    root
        Folder that holds its sets; the embedded ones lie in the user's cache without it.
    format
        How the findings are written.
    """
    import json

    from synood.benchmark.suites.verify import check_benchmark
    from synood.cli.console import deliver

    found = check_benchmark(name, root)
    if format == "json":
        deliver(json.dumps(found.to_json(), indent=2, ensure_ascii=False) + "\n")
    else:
        deliver(_check_text(found))
    return 0 if found.ok else INCOMPLETE


def _check_text(found: Check) -> str:
    """Return a line for each set, under it what is wrong, and where to get what is not whole."""
    from synood.cli.console import table_text

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
    lines.append("all there\n" if found.ok else f"{wrong} of {len(found.sets)} sets not whole\n")
    return "".join(lines)
