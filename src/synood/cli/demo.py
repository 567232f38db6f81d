"""`synood demo`: the whole method on the embedded mini world."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from synood.cli.console import deliver, reporter
from synood.cli.options import Device, Overwrite, RecipeName, Whole  # noqa: TC001 - the command line reads them


def demo(
    *,
    out: Path = Path("demo-out"),
    seeds: Whole = 5,
    split: Literal["hard", "main", "crowded"] = "hard",
    recipe: RecipeName = "paper",
    overwrite: Overwrite = False,
    device: Device = "auto",
) -> None:
    """Run the whole method on the embedded mini world and report the results.

    An interrupted demo resumes when the same command is run again.

    Parameters
    ----------
    out
        Directory for the run, results.json and report.html.
    seeds
        Number of tuning runs with different seeds, for the intervals (at least 3).
    split
        Test images: "hard" (by an artist no model has seen), "main" (by known artists) or \
"crowded" (by known artists, among clutter).
    """
    from synood.benchmark.experiments.demo import run_demo

    with reporter() as progress:
        text = run_demo(
            out,
            seeds,
            progress,
            recipe=recipe,
            split=split,
            device=device,
            overwrite=overwrite,
        )
    deliver(f"{text}\n")
