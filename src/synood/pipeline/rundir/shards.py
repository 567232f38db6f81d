"""Synthetic images on disk: shards of PNG files with one JSON row each, whole or absent."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synood.errors import InputError
from synood.features.unreadable import Unreadable
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

SHARD = 16  # images: the most work that a kill loses
ROWS = "rows.jsonl"
DIGITS = 6  # of losses and energies on disk


@dataclass(frozen=True)
class SynthesisRequest:
    """One image to synthesize. `inputs` changes with everything that can change the result."""

    id: str  # of the in-distribution image
    path: Path  # of that image
    sha256: str  # of that file
    prompt: str
    seed: int
    inputs: str


@dataclass(frozen=True)
class SyntheticImage:
    """One synthetic image, as its row in a shard says."""

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


def read_synthetic(directory: Path) -> dict[str, SyntheticImage]:
    """Return the images in `directory` (RUN/synthesize) by the fingerprint of their inputs.

    A shard of which an image is missing or altered counts as absent: it is made again as
    it was, in the same batches, so that it gets the same bytes.
    """
    shards = sorted(directory.glob("[!.]*/"))
    return {image.inputs: image for shard in shards for image in _images(shard)}


def write_shard(
    directory: Path, requests: Sequence[SynthesisRequest], rendered: Sequence[Rendered]
) -> list[SyntheticImage]:
    """Write the images of `requests` as one new shard and return them."""
    shard = directory / _shard_name([request.inputs for request in requests])
    with replacing_directory(shard) as part:
        images = [_write(part, *pair) for pair in zip(requests, rendered, strict=True)]
        write_jsonl(part / ROWS, [_to_row(image) for image in images])
    return [replace(image, path=shard / image.path.name) for image in images]


class ShardWriter:
    """Writes batches that come in any order as shards of some `SHARD` consecutive images.

    After a kill, what is missing is again whole shards, and so the same batches.
    """

    def __init__(self, directory: Path, batches: Sequence[Sequence[SynthesisRequest]]) -> None:
        self._directory = directory
        self._batches = batches
        self._pending: dict[int, Sequence[Rendered | Unreadable]] = {}
        self._size = max(1, SHARD // len(batches[0]))  # batches in a shard

    def add(self, number: int, results: Sequence[Rendered | Unreadable]) -> list[SyntheticImage]:
        """Take a batch; return the images of its shard if it was the last one missing there.

        Unreadable images are not part of a shard.
        """
        self._pending[number] = results
        first = number - number % self._size
        members = range(first, min(first + self._size, len(self._batches)))
        if not all(member in self._pending for member in members):
            return []
        pairs = [
            (request, result)
            for member in members
            for request, result in zip(
                self._batches[member], self._pending.pop(member), strict=True
            )
            if not isinstance(result, Unreadable)
        ]
        if not pairs:
            return []
        requests, rendered = zip(*pairs, strict=True)
        return write_shard(self._directory, requests, rendered)


def tidy(
    directory: Path, found: Mapping[str, SyntheticImage], wanted: Sequence[SynthesisRequest]
) -> list[SyntheticImage]:
    """Return the images of `wanted`, in order, and remove all others from `directory`.

    Others are those of an earlier recipe or folder, and broken shards; `found` has the whole
    images by the fingerprint of their inputs.
    """
    kept = {request.inputs: found[request.inputs] for request in wanted}
    of_shard: dict[Path, list[SyntheticImage]] = {}
    for image in kept.values():
        of_shard.setdefault(image.path.parent, []).append(image)
    for shard in sorted(directory.glob("[!.]*/")):
        own = of_shard.get(shard, [])
        if len(own) == sum(1 for _ in shard.glob("*.png")) > 0:
            continue
        copied = _copy_shard(directory, own)
        kept.update({image.inputs: image for image in copied})
        if not copied or copied[0].path.parent != shard:
            shutil.rmtree(shard)
    return [kept[request.inputs] for request in wanted]


def _copy_shard(directory: Path, images: Sequence[SyntheticImage]) -> list[SyntheticImage]:
    if not images:
        return []
    shard = directory / _shard_name([image.inputs for image in images])
    with replacing_directory(shard) as part:
        for image in images:
            shutil.copyfile(image.path, part / image.path.name)
        write_jsonl(part / ROWS, [_to_row(image) for image in images])
    return [replace(image, path=shard / image.path.name) for image in images]


def _shard_name(inputs: Sequence[str]) -> str:
    return fingerprint(list(inputs))


def _write(part: Path, request: SynthesisRequest, rendered: Rendered) -> SyntheticImage:
    from PIL import Image

    path = part / f"{request.inputs}.png"
    Image.fromarray(rendered.image).save(path, format="PNG")
    return SyntheticImage(
        id=request.id,
        path=path,
        sha256=sha256_file(path),
        prompt=request.prompt,
        seed=request.seed,
        losses=_rounded(rendered.losses),
        energies=_rounded(rendered.energies),
        source_energy=round(rendered.source_energy, DIGITS),
        stop=rendered.stop,
        inputs=request.inputs,
    )


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(value, DIGITS) for value in values)


def _to_row(image: SyntheticImage) -> dict[str, Any]:
    values = {field.name: getattr(image, field.name) for field in fields(SyntheticImage)}
    return {**values, "path": image.path.name}


def _images(shard: Path) -> list[SyntheticImage]:
    """Return the images of a shard in order, or none if one of them is not whole."""
    try:
        found = [_from_row(shard, row) for row in read_jsonl(shard / ROWS)]
    except (InputError, KeyError, TypeError, ValueError):
        return []
    return found if all(_is_whole(image) for image in found) else []


def _from_row(shard: Path, row: dict[str, Any]) -> SyntheticImage:
    values = {field.name: row[field.name] for field in fields(SyntheticImage)}
    if not all(isinstance(values[name], str) for name in ("id", "inputs", "path", "sha256")):
        raise TypeError("a name that is no text")
    lists = {name: tuple(values[name]) for name in ("losses", "energies")}
    return SyntheticImage(**{**values, **lists, "path": shard / Path(values["path"]).name})


def _is_whole(image: SyntheticImage) -> bool:
    return image.path.is_file() and sha256_file(image.path) == image.sha256
