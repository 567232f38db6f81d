"""Select: which images the run uses; each is read and encoded before anything more expensive."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from synood.errors import InputError
from synood.features.unreadable import Unreadable, map_or_unreadable
from synood.files import fingerprint, read_jsonl, sha256_bytes
from synood.images.decoding import image_bytes
from synood.pipeline.rundir.quarantine import FILE, BadImage
from synood.pipeline.rundir.ratios import kept_ratios, listing_fingerprint
from synood.pipeline.rundir.selection import SelectedImage, read_selection, write_selection
from synood.pipeline.stages.division import divide
from synood.pipeline.stages.embed import Selection, embed_images

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from synood.images.selection import Ratios
    from synood.images.sources import ImageIndex, ImageRecord
    from synood.pipeline.rundir.selection import Use
    from synood.pipeline.stages.context import RunContext
    from synood.settings import Recipe

MANY = 2_000  # calibration images whose encoding takes long enough to be worth a line


def select(run: RunContext, index: ImageIndex, with_probe: bool) -> Selection:
    """Choose the images of each class by bytes per pixel (paper §3.4), and others to learn from.

    select.jsonl keeps the choice. It is made among the images that can be read, as in a folder
    without the others; those are quarantined.
    """
    path = run.root / "select.jsonl"
    recipe, quarantine = run.recipe, run.quarantine
    listing = listing_fingerprint(index)
    inputs = _choice_fingerprint(index, recipe, with_probe, listing)
    kept = read_selection(path, index, inputs)
    if kept is None:
        quarantine.begin(inputs, len(index.records))
        ratios = kept_ratios(run.workspace, index, listing)
        selection = _select_readable(run, index, with_probe, ratios)
        write_selection(path, selection.images, inputs)
        quarantine.chosen(len(selection.images))
    else:
        quarantine.resume(inputs, len(index.records))
        quarantine.chosen(len(kept))
        features, bad = embed_images(run, kept)
        quarantine("embed", bad)
        selection = Selection(kept, features).without(quarantine)
    count = len(selection.used_for("tune"))
    total = len(selection.images)
    told = f"{count} of {len(index.records)} images to redraw"
    if run.recipe.synthesis.method == "none":
        told = f"{total} of {len(index.records)} images to learn from"
    run.progress("select")(total, total, told)
    return selection


def choice_differs(root: Path, index: ImageIndex, recipe: Recipe) -> bool:
    """Whether `select` would choose other images than those in the run directory's select.jsonl.

    Nothing is written; images are opened only where their sizes or times differ from the run's.
    """
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
    values[[*ratios.unreadable, *unreadable]] = np.nan
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
        *(["evidence"] if recipe.evidence.from_images else []),
    )  # fmt: skip


def _select_readable(
    run: RunContext, index: ImageIndex, with_probe: bool, ratios: Ratios
) -> Selection:
    """Choose, read every chosen image, and choose again without those that cannot be read."""
    values = ratios.values.copy()  # NaN for images that are left out
    bad = [_bad(index.records[row], reason) for row, reason in ratios.unreadable.items()]
    rows = {index.records[row].id: row for row in ratios.unreadable}
    hashes: dict[int, str | Unreadable] = {}
    while True:
        run.quarantine("select", bad)
        values[[rows[image.id] for image in bad]] = np.nan
        chosen = _choose(index, run.recipe, with_probe, values)
        rows = {index.records[row].id: row for row, _ in chosen}
        new = [row for row, _ in chosen if row not in hashes]
        hashes.update(zip(new, _hashes(run, index, new), strict=True))
        bad = [
            _bad(index.records[row], found.reason)
            for row, _ in chosen
            if isinstance(found := hashes[row], Unreadable)
        ]
        if bad:
            continue
        _tell_of_calibration(run, chosen)
        images = tuple(
            _selected(index.records[row], hashes[row], float(values[row]), uses)
            for row, uses in chosen
        )
        features, bad = embed_images(run, images)
        if not bad:
            return Selection(images, features)


def _tell_of_calibration(run: RunContext, chosen: list[tuple[int, tuple[Use, ...]]]) -> None:
    """Say what many images for the threshold cost, before they are encoded."""
    alone = sum(uses == ("calibrate",) for _, uses in chosen)
    if alone > MANY:
        run.workspace.notify(
            "select",
            f"{alone:,} images that nothing is learned from will be encoded to set the threshold; "
            "--set calibration.per_class=20 takes fewer of each class",
        )


def _hashes(run: RunContext, index: ImageIndex, rows: list[int]) -> list[str | Unreadable]:
    """Return the SHA-256 of some images' files."""
    progress, found = run.progress("select"), list[str | Unreadable]()
    for done, row in enumerate(rows, start=1):
        record = index.records[row]
        found += map_or_unreadable(lambda path: sha256_bytes(image_bytes(path)), [record.path])
        progress(done, len(rows), record.id)
    return found


def _bad(record: ImageRecord, reason: str) -> BadImage:
    return BadImage(record.id, record.path, reason)


def _selected(
    record: ImageRecord, content: str | Unreadable, ratio: float, uses: tuple[Use, ...]
) -> SelectedImage:
    return SelectedImage(
        record.id, record.path, str(record.label), str(content), round(ratio, 9), uses
    )


def _choose(
    index: ImageIndex, recipe: Recipe, with_probe: bool, values: NDArray[np.float64]
) -> list[tuple[int, tuple[Use, ...]]]:
    """Return the row of each image that is used, with its uses; those to redraw first.

    `values` (N,) are the images' bytes per pixel, NaN for those left out. A class of which none
    is left is an `InputError`.
    """
    alive = ~np.isnan(values)
    labels = index.label_indices()
    for place, name in enumerate(index.class_names):
        if not alive[labels == place].any():
            raise InputError(f"{index.root}: no image of class {name!r} can be read; add some")
    redrawn, groups = divide(index, recipe, with_probe, values)
    rest = sorted(set().union(*groups.values()) - {*redrawn})
    return [(row, _uses(row, groups)) for row in (*redrawn, *rest)]


def _uses(row: int, groups: Mapping[Use, set[int]]) -> tuple[Use, ...]:
    return tuple(use for use, members in groups.items() if row in members)
