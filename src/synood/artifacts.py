"""What synood wrote at a path (run, detector, bundle, results), so that mix-ups are named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.files import readable

if TYPE_CHECKING:
    from pathlib import Path

_MARKS = (  # files that are there -> what the directory then is
    (("bundle.json",), "a bundle of models"),
    (("negatives.txt", "model.safetensors"), "a detector"),
    (("run.toml",), "a run"),
    (("events.jsonl",), "a run"),
    (("results.json",), "a directory of results"),
)


def artifact_at(path: Path) -> str:
    """Return what a path is, for a sentence: "a run", "a detector", ..., "" for nothing of ours."""
    there = (what for names, what in _MARKS if all((path / name).is_file() for name in names))
    return next(there, "")


def mistaken_for(path: Path, wanted: str) -> str:
    """Return "PATH: is a detector, not a bundle of models; give ...", "" where nothing is known.

    What to give in its place is said where it lies beside or below `path`.
    """
    found = artifact_at(path)
    if not found or found == wanted:
        return ""
    near = (path / "detector", path.absolute().parent)
    other = next((place for place in near if artifact_at(place) == wanted), None)
    instead = f"; use {readable(other)}" if other else ""
    return f"{readable(path)}: is {found}, not {wanted}{instead}"
