"""Synthetic pictures on disk: shards of PNG files and one JSON row for each, whole or absent."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synood.errors import InputError
from synood.files import (
    fingerprint,
    read_jsonl,
    replacing_directory,
    sha256_file,
    write_jsonl,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synood.synthesis.guidance import Rendered

SHARD = 16  # pictures; what a kill can lose
ROWS = "rows.jsonl"
DIGITS = 6  # of losses and energies on disk


@dataclass(frozen=True)
class Order:
    """One picture to be painted. `inputs` changes with anything that can change the picture."""

    id: str  # of the in-distribution image
    source: Path
    sha256: str  # of that image's file
    prompt: str
    seed: int
    inputs: str


@dataclass(frozen=True)
class Synthetic:
    """One picture that was painted, as its row in a shard says."""

    id: str
    path: Path
    sha256: str
    prompt: str
    seed: int
    losses: tuple[float, ...]
    energies: tuple[float, ...]
    source_energy: float
    stop: str
    inputs: str


def read_synthetic(directory: Path) -> dict[str, Synthetic]:
    """Return the pictures in `directory` (RUN/synthesize) by the fingerprint of their inputs.

    A shard of which a picture is missing or altered counts as absent: it is painted again as
    it was, in the same batches, so that it gets the same bytes.
    """
    shards = sorted(directory.glob("[!.]*/"))
    return {picture.inputs: picture for shard in shards for picture in _pictures(shard)}


def write_shard(
    directory: Path, orders: Sequence[Order], rendered: Sequence[Rendered]
) -> list[Synthetic]:
    """Write the pictures of `orders` as one new shard and return them."""
    shard = directory / _shard_name([order.inputs for order in orders])
    with replacing_directory(shard) as part:
        pictures = [_write(part, *pair) for pair in zip(orders, rendered, strict=True)]
        write_jsonl(part / ROWS, [_to_row(picture) for picture in pictures])
    return [replace(picture, path=shard / picture.path.name) for picture in pictures]


def tidy(
    directory: Path, found: Mapping[str, Synthetic], wanted: Sequence[Order]
) -> list[Synthetic]:
    """Return the pictures of `wanted`, in order, and remove all others from `directory`.

    Others are those of an earlier recipe or folder, and broken shards; `found` has the whole
    pictures by the fingerprint of their inputs.
    """
    kept = {order.inputs: found[order.inputs] for order in wanted}
    of_shard: dict[Path, list[Synthetic]] = {}
    for picture in kept.values():
        of_shard.setdefault(picture.path.parent, []).append(picture)
    for shard in sorted(directory.glob("[!.]*/")):
        own = of_shard.get(shard, [])
        if len(own) == sum(1 for _ in shard.glob("*.png")) > 0:
            continue
        copied = _copy_shard(directory, own)
        kept.update({picture.inputs: picture for picture in copied})
        if not copied or copied[0].path.parent != shard:
            shutil.rmtree(shard)
    return [kept[order.inputs] for order in wanted]


def _copy_shard(directory: Path, pictures: Sequence[Synthetic]) -> list[Synthetic]:
    if not pictures:
        return []
    shard = directory / _shard_name([picture.inputs for picture in pictures])
    with replacing_directory(shard) as part:
        for picture in pictures:
            shutil.copyfile(picture.path, part / picture.path.name)
        write_jsonl(part / ROWS, [_to_row(picture) for picture in pictures])
    return [replace(picture, path=shard / picture.path.name) for picture in pictures]


def _shard_name(inputs: Sequence[str]) -> str:
    return fingerprint(list(inputs))


def _write(part: Path, order: Order, rendered: Rendered) -> Synthetic:
    from PIL import Image

    path = part / f"{order.inputs}.png"
    Image.fromarray(rendered.image).save(path, format="PNG")
    return Synthetic(
        id=order.id,
        path=path,
        sha256=sha256_file(path),
        prompt=order.prompt,
        seed=order.seed,
        losses=_rounded(rendered.losses),
        energies=_rounded(rendered.energies),
        source_energy=round(rendered.source_energy, DIGITS),
        stop=rendered.stop,
        inputs=order.inputs,
    )


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(value, DIGITS) for value in values)


def _to_row(picture: Synthetic) -> dict[str, Any]:
    values = {field.name: getattr(picture, field.name) for field in fields(Synthetic)}
    return {**values, "path": picture.path.name}


def _pictures(shard: Path) -> list[Synthetic]:
    """Return the pictures of a shard in order, or none if one of them is not whole."""
    try:
        found = [_from_row(shard, row) for row in read_jsonl(shard / ROWS)]
    except (InputError, KeyError, TypeError, ValueError):
        return []
    return found if all(_is_whole(picture) for picture in found) else []


def _from_row(shard: Path, row: dict[str, Any]) -> Synthetic:
    values = {field.name: row[field.name] for field in fields(Synthetic)}
    if not all(isinstance(values[name], str) for name in ("id", "inputs", "path", "sha256")):
        raise TypeError("a name that is no text")
    lists = {name: tuple(values[name]) for name in ("losses", "energies")}
    return Synthetic(**{**values, **lists, "path": shard / Path(values["path"]).name})


def _is_whole(picture: Synthetic) -> bool:
    return picture.path.is_file() and sha256_file(picture.path) == picture.sha256
