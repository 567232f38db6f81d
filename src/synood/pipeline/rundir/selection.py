"""select.jsonl: which images a run uses, and for what."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from synood.files import read_jsonl, write_jsonl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from synood.images.sources import ImageIndex

Use = Literal["tune", "learn", "probe", "calibrate", "evidence"]


@dataclass(frozen=True)
class SelectedImage:
    """An image that the run uses, and for what.

    "tune": redrawn, and the projection learns its class from it; "learn": the latter alone;
    "probe" and "calibrate": for the linear probe and for the threshold; "evidence": what the class
    looks like.
    """

    id: str
    path: Path
    label: str
    sha256: str
    bytes_per_pixel: float
    uses: tuple[Use, ...]

    @property
    def teaches_its_class(self) -> bool:
        """Whether the projection learns the image's class from it."""
        return "tune" in self.uses or "learn" in self.uses


def write_selection(path: Path, images: Sequence[SelectedImage], inputs: str) -> None:
    """Write one row for each image; `inputs` is the fingerprint of what the selection came from."""
    write_jsonl(path, [_to_row(image, inputs) for image in images])


def read_selection(
    path: Path, index: ImageIndex, inputs: str | None = None
) -> tuple[SelectedImage, ...] | None:
    """Read a selection among the images of `index`.

    None where there is none, or where it came from other inputs than `inputs` (if given).
    """
    rows = read_jsonl(path) if path.exists() else []
    if not rows or any(inputs not in (None, row.get("inputs")) for row in rows):
        return None
    wanted = {row["id"] for row in rows}
    paths = {record.id: record.path for record in index.records if record.id in wanted}
    return tuple(_from_row(row, paths) for row in rows)


def _to_row(image: SelectedImage, inputs: str) -> dict[str, Any]:
    row = asdict(image)
    del row["path"]
    return {**row, "inputs": inputs}


def _from_row(row: Mapping[str, Any], paths: Mapping[str, Path]) -> SelectedImage:
    return SelectedImage(
        id=row["id"],
        path=paths[row["id"]],
        label=row["label"],
        sha256=row["sha256"],
        bytes_per_pixel=row["bytes_per_pixel"],
        uses=tuple(row["uses"]),
    )
