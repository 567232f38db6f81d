"""`synood models`: which checkpoints bundles use, and whether they are on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from synood.cli.console import deliver, table_text

if TYPE_CHECKING:
    from synood.models.bundles import Bundle

_UNKNOWN = "-"


def models(*bundles: str) -> None:
    """List the checkpoints of bundles: id, revision, licence, and whether they are on this machine.

    A bundle's name can replace a part by a hub id or a folder, as in \
"paper+encoder=google/siglip-base-patch16-224", or a field, as in "paper+encoder.dtype=bfloat16".

    Parameters
    ----------
    bundles
        Names or directories of bundles; the built-in ones if not given.
    """
    from synood.models.bundles import EMBEDDED, PAPER, VARIANTS, load_bundle

    for name in bundles or (*EMBEDDED, PAPER["name"], *VARIANTS):
        bundle = load_bundle(name)
        lines = table_text([_row(bundle, part) for part in bundle.parts]).splitlines()
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
