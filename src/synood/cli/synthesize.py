"""`synood synthesize`: the synthetic images of a run, for other tools."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - the command line reads the annotations
from typing import Literal

from synood.cli.console import deliver
from synood.cli.options import Overwrite, Whole  # noqa: TC001


def synthesize(
    run: Path,
    /,
    *,
    export: Path,
    format: Literal["folder", "webdataset", "parquet"] = "folder",
    per_shard: Whole = 1000,
    overwrite: Overwrite = False,
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
    from synood.cli.outputs import check_output_directory
    from synood.pipeline.export.images import export_images

    check_output_directory(export, overwrite)
    count = export_images(run, export, format, per_shard)
    deliver(f"{count:,} synthetic images: {export}\n")
