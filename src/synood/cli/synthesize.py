"""`synood synthesize`: the synthetic images of a run, for other tools."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - the command line reads the annotations
from typing import Literal

from synood.cli.console import deliver


def synthesize(
    run: Path,
    /,
    *,
    export: Path,
    format: Literal["folder", "webdataset", "parquet"] = "folder",
    per_shard: int = 1000,
) -> None:
    """Export the synthetic images of a run with prompts, energies, labels and a data card.

    Parameters
    ----------
    run
        Directory of a finished run of `synood fit`.
    export
        Directory or URL to export to.
    format
        PNG folders with an OpenOOD imglist, WebDataset tar shards, or Parquet shards.
    per_shard
        Images per tar or Parquet shard.
    """
    from synood.pipeline.export.images import export_pictures

    count = export_pictures(run, export, format, per_shard)
    deliver(f"{count:,} synthetic images: {export}\n")
