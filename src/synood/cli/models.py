"""`synood models`: which checkpoints bundles use, and whether they are on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from synood.cli.console import deliver

if TYPE_CHECKING:
    from synood.models.bundles import Bundle

_UNKNOWN = "-"


def models(*bundles: str) -> None:
    """List the checkpoints of bundles: id, revision, licence, and whether they are on this machine.

    Any part is exchanged in a bundle's name, by a hub id or a folder:
    "paper+encoder=google/siglip-base-patch16-224", and so is a field of one:
    "paper+encoder.dtype=bfloat16".

    Parameters
    ----------
    bundles
        Names or directories of bundles; without any, those that are built in.
    """
    from synood.models._spec import PAPER, VARIANTS
    from synood.models.bundles import load_bundle

    for name in bundles or ("mini", PAPER["name"], *VARIANTS):
        bundle = load_bundle(name)
        rows = [_row(bundle, part) for part in bundle.parts]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = (
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )
        deliver(f"{name}\n" + "".join(f"  {line}\n" for line in lines))


def _row(bundle: Bundle, part: str) -> tuple[str, str, str, str, str]:
    """Return part, what it is, revision, licence, and where its files are."""
    from synood.models.catalog import catalog

    spec = bundle.spec[part]
    if "id" not in spec:
        place = spec.get("path") or spec.get("vocabulary") or spec.get("type", _UNKNOWN)
        return part, str(place), _UNKNOWN, _UNKNOWN, "in the bundle"
    known = catalog().get(spec["id"])
    folder = Path(spec["id"]).is_dir()
    where = "a folder" if folder else "here" if bundle.from_hub(part) else "not here"
    revision = str(spec.get("revision", "not pinned"))[:12]
    return part, spec["id"], revision, known.licence if known else _UNKNOWN, where
