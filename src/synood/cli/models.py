"""`synood models`: which checkpoints bundles use, and whether they are on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from synood.cli.console import deliver, table_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.models.bundles import Bundle

_UNKNOWN = "-"
_HERE = {True: "here", False: "not here"}


def models(*bundles: str) -> None:
    """List the checkpoints of bundles: id, revision, licence, and whether they are on this machine.

    Without names, the built-in bundles and every checkpoint known by its id are listed.

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
        _deliver_table(name, [_row(bundle, part) for part in bundle.parts])
    if not bundles:
        _deliver_table("known by id, for NAME+PART=ID (docs/models.md)", _known_rows())


def _deliver_table(title: str, rows: Sequence[Sequence[str]]) -> None:
    lines = table_text(rows).splitlines()
    deliver(f"{title}\n" + "".join(f"  {line}\n" for line in lines))


def _known_rows() -> list[tuple[str, ...]]:
    """Return part, id, revision, licence, kind and where its files are, of the catalog's rows."""
    from synood.models.catalog import catalog
    from synood.models.parts import PARTS

    rows: list[tuple[str, ...]] = []
    for part in PARTS:
        for name, entry in catalog().items():
            if entry.part == part:
                revision = (entry.revision or "not pinned")[:12]
                where = _HERE[_is_cached(name, entry.revision)]
                rows.append((part, name, revision, entry.licence, where, entry.kind))
    return rows


def _is_cached(name: str, revision: str | None) -> bool:
    from synood.models.hub import cached_files

    return any(file.endswith((".safetensors", ".bin")) for file in cached_files(name, revision))


def _row(bundle: Bundle, part: str) -> tuple[str, str, str, str, str]:
    """Return part, what it is, revision, licence, and where its files are."""
    from synood.models.catalog import catalog

    spec = bundle.spec[part]
    if "id" not in spec:
        place = spec.get("path") or spec.get("vocabulary") or spec.get("type", _UNKNOWN)
        return part, str(place), _UNKNOWN, _UNKNOWN, "in the bundle"
    known = catalog().get(spec["id"])
    folder = Path(spec["id"]).is_dir()
    where = "a folder" if folder else _HERE[bool(bundle.from_hub(part))]
    revision = str(spec.get("revision", "not pinned"))[:12]
    return part, spec["id"], revision, known.licence if known else _UNKNOWN, where
