"""Options that several commands share, with their help."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

Models = Annotated[
    str,
    Parameter(
        help='Which models to use: "mini", "paper" or a directory with a bundle.json; '
        '"paper+encoder=ID" exchanges a part by a hub id or a folder (see `synood models`).'
    ),
]
Device = Annotated[
    str, Parameter(help='Where the models run: "auto", "cpu" or a name that torch knows.')
]
Names = Literal["openai", "synood"]
Flag = Annotated[bool, Parameter(show_default=False)]
Several = Annotated[tuple[str, ...], Parameter(consume_multiple=True, show_default=False)]
Assignments = Annotated[Several, Parameter(name="--set")]
