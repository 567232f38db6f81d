"""Which images a run uses, and for what; each is read whole once before anything expensive."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from synood.errors import InputError
from synood.files import fingerprint, read_jsonl, sha256_bytes, write_jsonl
from synood.pipeline._quarantine import Bad

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from synood.images.sources import ImageIndex, ImageRecord
    from synood.pipeline._quarantine import Quarantine
    from synood.pipeline._workspace import Workspace
    from synood.settings import Recipe

Use = Literal["tune", "probe", "calibrate"]
FEW = 20  # with fewer images left over, the threshold comes from those that were tuned on


@dataclass(frozen=True)
class Picture:
    """An image of the folder that the run uses: redrawn and tuned on, or only looked at."""

    id: str
    path: Path
    label: str
    sha256: str
    bytes_per_pixel: float
    uses: tuple[Use, ...]


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
    inputs = fingerprint(
        "select", asdict(recipe.select), asdict(recipe.probe), asdict(recipe.calibration),
        with_probe, index.class_names, _listing(index),
    )  # fmt: skip
    kept = _read(path, inputs, index)
    if kept is None:
        quarantine.begin(inputs, len(index.records))
        kept = _choose_readable(workspace, index, recipe, with_probe, quarantine)
        write_jsonl(path, [_to_row(picture, inputs) for picture in kept])
    else:
        quarantine.resume(inputs, len(index.records))
    count = sum("tune" in picture.uses for picture in kept)
    quarantine.chosen(len(kept))
    workspace.stage("select")(
        len(kept), len(kept), f"{count} of {len(index.records)} images to redraw"
    )
    return kept


def _choose_readable(
    workspace: Workspace,
    index: ImageIndex,
    recipe: Recipe,
    with_probe: bool,
    quarantine: Quarantine,
) -> tuple[Picture, ...]:
    """Choose, read every chosen image, and choose again without those that cannot be read."""
    ratios, bad = _ratios(index)
    checked: dict[str, Picture] = {}
    while True:
        quarantine("select", bad)
        index = _without(index, {one.id for one in bad})
        chosen = _choose(index, recipe, with_probe, ratios)
        bad = []
        for done, (record, uses) in enumerate(chosen, start=1):
            try:
                known = checked.get(record.id) or _checked(record, ratios[record.id])
                checked[record.id] = replace(known, uses=uses)
            except InputError as error:
                bad.append(Bad(record.id, record.path, str(error)))
            workspace.stage("select")(done, len(chosen), record.id)
        if not bad:
            return tuple(checked[record.id] for record, _ in chosen)


def _ratios(index: ImageIndex) -> tuple[dict[str, float], list[Bad]]:
    """Return the bytes per pixel of each image by id, and the images whose header is broken."""
    from synood.images.selection import bytes_per_pixel

    ratios: dict[str, float] = {}
    bad = []
    for record in index.records:
        try:
            ratios[record.id] = bytes_per_pixel(record.path)
        except InputError as error:
            bad.append(Bad(record.id, record.path, str(error)))
    return ratios, bad


def _choose(
    index: ImageIndex, recipe: Recipe, with_probe: bool, ratios: Mapping[str, float]
) -> list[tuple[ImageRecord, tuple[Use, ...]]]:
    """Return each image that is used, with its uses; those to redraw first."""
    from synood.images.selection import select_complex

    selected = [c.record for c in select_complex(index, recipe.select.per_class, ratios)]
    tuned = {record.id for record in selected}
    probe: set[str] = set()
    left: set[str] = set()
    of_class: dict[str | None, list[str]] = {}
    for record in index.records:
        of_class.setdefault(record.label, []).append(record.id)
    for members in of_class.values():
        if with_probe:
            probe.update(_evenly(members, recipe.probe.per_class))
        others = [member for member in members if member not in tuned]
        left.update(_evenly(others, recipe.calibration.per_class))
    calibrate = left if len(left) >= FEW else tuned
    rest = [r for r in index.records if r.id not in tuned and r.id in probe | calibrate]
    return [(r, _uses(r.id, tuned, probe, calibrate)) for r in (*selected, *rest)]


def _uses(
    image_id: str, tuned: Iterable[str], probe: set[str], calibrate: set[str]
) -> tuple[Use, ...]:
    groups: tuple[tuple[Use, Iterable[str]], ...] = (
        ("tune", tuned),
        ("probe", probe),
        ("calibrate", calibrate),
    )
    return tuple(use for use, members in groups if image_id in members)


def _evenly(members: list[str], count: int) -> list[str]:
    """Return at most `count` members, evenly spaced over the sorted list."""
    ordered = sorted(members)
    taken = min(count, len(ordered))
    return [ordered[i * len(ordered) // taken] for i in range(taken)]


def _checked(record: ImageRecord, ratio: float) -> Picture:
    """Decode an image whole, so that a broken one is found now and not in the third hour."""
    from synood.images.reading import decode, image_bytes

    data = image_bytes(record.path)
    decode(data, record.path)
    digest = sha256_bytes(data)
    return Picture(record.id, record.path, str(record.label), digest, round(ratio, 9), ())


def _without(index: ImageIndex, broken: set[str]) -> ImageIndex:
    records = tuple(record for record in index.records if record.id not in broken)
    labels = {record.label for record in records}
    for name in index.class_names:
        if name not in labels:
            raise InputError(f"{index.root}: no image of class {name!r} can be read; add some")
    return replace(index, records=records)


def _listing(index: ImageIndex) -> list[tuple[str, str | None, int, int]]:
    """What can be told of every image without opening it."""
    return [(record.id, record.label, *_size_and_time(record.path)) for record in index.records]


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:  # a link to nothing, say: reading the image tells what is wrong
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _to_row(picture: Picture, inputs: str) -> dict[str, Any]:
    row = asdict(picture)
    del row["path"]
    return {**row, "inputs": inputs}


def _read(path: Path, inputs: str, index: ImageIndex) -> tuple[Picture, ...] | None:
    rows = read_jsonl(path) if path.exists() else []
    if not rows or any(row.pop("inputs", None) != inputs for row in rows):
        return None
    paths = {record.id: record.path for record in index.records}
    return tuple(
        Picture(path=paths[row["id"]], **{**row, "uses": tuple(row["uses"])}) for row in rows
    )
