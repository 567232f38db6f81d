"""The table of an evaluation: measured rows, and under each method what its paper printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.benchmark.results import tables
from synood.benchmark.results.published import published

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synood.benchmark.results.published import Published
    from synood.benchmark.results.results import Results

_BLOCKS = {
    "auroc": "AUROC, % (higher is better)",
    "fpr95": "FPR95, % of OOD accepted when 95 % of in-distribution is kept (lower is better)",
    "fpr95_ood_positive": (
        "FPR95, % of in-distribution rejected when 95 % of OOD is caught (OpenOOD's; lower is "
        "better)"
    ),
}


def table_with_published(results: Results, benchmark: str, titles: Mapping[str, str]) -> str:
    """Return measured and published figures as plain text, a block per metric, with sources.

    A published line stands under its method's measured one and says that it is published; a
    figure that was not found is a dash. OpenOOD's FPR95 has a block only on a benchmark for which
    such figures were published.
    """
    others = published(benchmark, tables.methods(results.rows))
    shown = [metric for metric in _BLOCKS if metric != "fpr95_ood_positive" or _has(others, metric)]
    blocks = [
        tables.text_block(results.rows, metric, _BLOCKS[metric], titles, others) for metric in shown
    ]
    return "\n\n".join([*blocks, *source_lines(others, titles)])


def _has(others: Sequence[Published], metric: str) -> bool:
    return any(row.value(metric) is not None for row in others)


def sources(others: Sequence[Published], titles: Mapping[str, str]) -> list[str]:
    """Return where each method's published figures are from, each source once."""
    found: dict[str, None] = {}
    for row in others:
        stated = "" if row.convention != "not stated" else " (which FPR95 is not stated)"
        found[f"{titles.get(row.method, row.method)}: {row.source}{stated}"] = None
    return list(found)


def source_lines(others: Sequence[Published], titles: Mapping[str, str]) -> list[str]:
    """Return the sources as one block of plain text, or nothing where there is none."""
    lines = [f"  {line}" for line in sources(others, titles)]
    return (
        ["\n".join(["Published figures, of CLIP ViT-B/16, not measured here:", *lines])]
        if lines
        else []
    )
