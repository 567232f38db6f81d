"""`synood synthesize`: the synthetic pictures of a run, for other tools."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - the command line reads the annotations
from typing import Annotated, Literal

from cyclopts import Parameter


def synthesize(
    run: Path,
    /,
    *,
    export: Path,
    format: Literal["folder", "webdataset", "parquet"] = "folder",
    per_shard: Annotated[int, Parameter(name="--per-shard")] = 1000,
) -> None:
    """Hand out the synthetic pictures of a run, with their prompts, energies, labels and a card.

    Parameters
    ----------
    run
        Directory of a finished run of `synood fit`.
    export
        Directory to make; one that an earlier export made is replaced.
    format
        Folders of PNG files with a manifest and an OpenOOD imglist, tar shards that webdataset
        reads, or Parquet shards that Hugging Face datasets reads.
    per_shard
        Pictures in one tar or Parquet file.
    """
    from synood.pipeline.export.images import export_pictures

    count = export_pictures(run, export, format, per_shard)
    print(f"{count:,} synthetic pictures: {export}")
