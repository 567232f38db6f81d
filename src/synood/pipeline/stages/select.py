"""Which images a run uses, and for what; each is read whole once before anything expensive."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from synood.errors import InputError
from synood.files import fingerprint, read_jsonl, sha256_bytes, write_jsonl
from synood.pipeline.rundir.quarantine import FILE, Bad
from synood.pipeline.rundir.ratios import kept_ratios, listing_fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Set
    from pathlib import Path

    from numpy.typing import NDArray

    from synood.images.selection import Ratios
    from synood.images.sources import ImageIndex, ImageRecord
    from synood.pipeline.rundir.quarantine import Quarantine
    from synood.pipeline.rundir.workspace import Workspace
    from synood.settings import Recipe

Use = Literal["tune", "learn", "probe", "calibrate"]
FEW = 20  # with fewer images left over, the threshold comes from those that were tuned on


@dataclass(frozen=True)
class Picture:
    """An image of the folder that the run uses, and for what.

    "tune": redrawn, and the projection learns from it; "learn": the latter alone; "probe" and
    "calibrate": looked at for a classifier and for the threshold.
    """

    id: str
    path: Path
    label: str
    sha256: str
    bytes_per_pixel: float
    uses: tuple[Use, ...]


def is_learnt(picture: Picture) -> bool:
    """Whether the projection learns the picture's class from it."""
    return "tune" in picture.uses or "learn" in picture.uses


def select(
    workspace: Workspace,
    index: ImageIndex,
    recipe: Recipe,
    with_probe: bool,
    quarantine: Quarantine,
) -> tuple[Picture, ...]:
    """Choose the images of each class by bytes per pixel (paper §3.4), others to look at besides.

    The choice is kept in select.jsonl. It is made among those that can be read; the others go
    into `quarantine`, and the choice is the one that a folder without them gives.
    """
    path = workspace.root / "select.jsonl"
    listing = listing_fingerprint(index)
    inputs = _choice_fingerprint(index, recipe, with_probe, listing)
    kept = _read(path, inputs, index)
    if kept is None:
        quarantine.begin(inputs, len(index.records))
        ratios = kept_ratios(workspace, index, listing)
        kept = _choose_readable(workspace, index, recipe, with_probe, quarantine, ratios)
        write_jsonl(path, [_to_row(picture, inputs) for picture in kept])
    else:
        quarantine.resume(inputs, len(index.records))
    count = sum("tune" in picture.uses for picture in kept)
    quarantine.chosen(len(kept))
    workspace.stage("select")(
        len(kept), len(kept), f"{count} of {len(index.records)} images to redraw"
    )
    return kept


def choice_differs(root: Path, index: ImageIndex, recipe: Recipe) -> bool:
    """Whether `select` would choose other images than those in the run directory's select.jsonl.

    Nothing is written; images are opened only where their sizes or times differ from the run's.
    """
    from synood.images.decoding import image_bytes
    from synood.images.selection import measure_ratios

    rows = read_jsonl(root / "select.jsonl")
    with_probe = any("probe" in row["uses"] for row in rows)
    inputs = _choice_fingerprint(index, recipe, with_probe, listing_fingerprint(index))
    if all(row["inputs"] == inputs for row in rows):
        return False
    ratios = measure_ratios(index)
    values = ratios.values.copy()
    listed = read_jsonl(root / FILE) if (root / FILE).is_file() else []
    left_out = {row["id"] for row in listed if row["stage"] == "select"}
    unreadable = [number for number, one in enumerate(index.records) if one.id in left_out]
    values[[*ratios.broken, *unreadable]] = np.nan
    chosen = _choose(index, recipe, with_probe, values)
    now = [(index.records[row].id, str(index.records[row].label), uses) for row, uses in chosen]
    if now != [(row["id"], row["label"], tuple(row["uses"])) for row in rows]:
        return True
    paths = [index.records[row].path for row, _ in chosen]
    return [sha256_bytes(image_bytes(path)) for path in paths] != [row["sha256"] for row in rows]


def _choice_fingerprint(index: ImageIndex, recipe: Recipe, with_probe: bool, listing: str) -> str:
    return fingerprint(
        "select", asdict(recipe.select), asdict(recipe.probe), asdict(recipe.calibration),
        recipe.projection.images_per_class, with_probe, index.class_names, listing,
    )  # fmt: skip


def _choose_readable(
    workspace: Workspace,
    index: ImageIndex,
    recipe: Recipe,
    with_probe: bool,
    quarantine: Quarantine,
    ratios: Ratios,
) -> tuple[Picture, ...]:
    """Choose, read every chosen image, and choose again without those that cannot be read."""
    values = ratios.values.copy()  # NaN for images that are left out
    bad = {row: _bad(index.records[row], reason) for row, reason in ratios.broken.items()}
    checked: dict[int, Picture] = {}
    while True:
        quarantine("select", list(bad.values()))
        values[list(bad)] = np.nan
        chosen = _choose(index, recipe, with_probe, values)
        bad = {}
        for done, (row, uses) in enumerate(chosen, start=1):
            record = index.records[row]
            try:
                known = checked.get(row) or _checked(record, float(values[row]))
                checked[row] = replace(known, uses=uses)
            except InputError as error:
                bad[row] = _bad(record, str(error))
            workspace.stage("select")(done, len(chosen), record.id)
        if not bad:
            return tuple(checked[row] for row, _ in chosen)


def _bad(record: ImageRecord, reason: str) -> Bad:
    return Bad(record.id, record.path, reason)


def _choose(
    index: ImageIndex, recipe: Recipe, with_probe: bool, values: NDArray[np.float64]
) -> list[tuple[int, tuple[Use, ...]]]:
    """Return the row of each image that is used, with its uses; those to redraw first.

    `values` (N,) are the images' bytes per pixel, NaN for those left out. A class of which none
    is left is an `InputError`.
    """
    from synood.images.selection import complex_rows, rows_by_class

    selected = complex_rows(index, recipe.select.per_class, values)
    tuned = set(selected)
    learn: set[int] = set()
    probe: set[int] = set()
    left: set[int] = set()
    alive = ~np.isnan(values)
    for place, members in enumerate(rows_by_class(index.label_indices(), len(index.class_names))):
        if not alive[members].any():
            name = index.class_names[place]
            raise InputError(f"{index.root}: no image of class {name!r} can be read; add some")
        rows = _in_order(index, members[alive[members]])
        if with_probe:
            probe.update(_evenly(rows, recipe.probe.per_class))
        learn.update(more_to_learn(rows, tuned, recipe.projection.images_per_class))
        unseen = [row for row in rows if row not in tuned | learn]
        left.update(_evenly(unseen, recipe.calibration.per_class))
    calibrate = left if len(left) >= FEW else tuned
    groups: dict[Use, set[int]] = {
        "tune": tuned, "learn": learn, "probe": probe, "calibrate": calibrate,
    }  # fmt: skip
    rest = sorted((learn | probe | calibrate) - tuned)
    return [(row, _uses(row, groups)) for row in (*selected, *rest)]


def more_to_learn(rows: list[int], tuned: Set[int], wanted: int | None) -> list[int]:
    """Return which rows of a class, beside those tuned on, make up the number wanted."""
    others = [row for row in rows if row not in tuned]
    return _evenly(others, max(0, (wanted or 0) - (len(rows) - len(others))))


def _in_order(index: ImageIndex, rows: NDArray[np.int64]) -> list[int]:
    """Return rows in the order of their ids."""
    return sorted(rows.tolist(), key=lambda row: index.records[row].id)


def _uses(row: int, groups: Mapping[Use, set[int]]) -> tuple[Use, ...]:
    return tuple(use for use, members in groups.items() if row in members)


def _evenly(ordered: list[int], count: int) -> list[int]:
    """Return at most `count` members, evenly spaced."""
    taken = min(count, len(ordered))
    return [ordered[i * len(ordered) // taken] for i in range(taken)]


def _checked(record: ImageRecord, ratio: float) -> Picture:
    """Decode an image whole, so that a broken one is found now and not in the third hour."""
    from synood.images.decoding import decode, image_bytes

    data = image_bytes(record.path)
    decode(data, record.path)
    digest = sha256_bytes(data)
    return Picture(record.id, record.path, str(record.label), digest, round(ratio, 9), ())


def _to_row(picture: Picture, inputs: str) -> dict[str, Any]:
    row = asdict(picture)
    del row["path"]
    return {**row, "inputs": inputs}


def _read(path: Path, inputs: str, index: ImageIndex) -> tuple[Picture, ...] | None:
    rows = read_jsonl(path) if path.exists() else []
    if not rows or any(row.pop("inputs", None) != inputs for row in rows):
        return None
    wanted = {row["id"] for row in rows}
    paths = {record.id: record.path for record in index.records if record.id in wanted}
    return tuple(
        Picture(path=paths[row["id"]], **{**row, "uses": tuple(row["uses"])}) for row in rows
    )
