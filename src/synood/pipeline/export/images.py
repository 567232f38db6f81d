"""Synthetic images of a run for other tools: folders, tar shards or Parquet, with a data card."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from synood.artifacts import mistaken_for
from synood.errors import InputError
from synood.files import read_jsonl, readable, replacing_directory, write_text
from synood.images.remote import RemotePath, as_path
from synood.pipeline.export.card import MARK, data_card
from synood.pipeline.export.formats import PER_SHARD, WRITERS
from synood.pipeline.rundir.mirror import send_folder
from synood.pipeline.rundir.shards import SyntheticImage, read_synthetic

ExportFormat = Literal["folder", "webdataset", "parquet"]


@dataclass(frozen=True)
class Sample:
    """One synthetic image with all its fields."""

    image: SyntheticImage
    label: str  # class of the in-distribution image; the image is to lie outside of it
    class_number: int
    negative_label: str  # the prompt of the nearest negative label
    source_sha256: str

    @property
    def row(self) -> dict[str, Any]:
        """The fields of a sample, in every format."""
        made = self.image
        return {
            "class": self.label,
            "class_number": self.class_number,
            "negative_label": self.negative_label,
            "prompt": made.prompt,
            "energies": list(made.energies),
            "losses": list(made.losses),
            "source_energy": made.source_energy,
            "stop": made.stop,
            "seed": made.seed,
            "source": made.id,
            "source_sha256": self.source_sha256,
            "sha256": made.sha256,
        }


def export_images(
    run: Path, out: Path, form: ExportFormat = "folder", per_shard: int = PER_SHARD
) -> int:
    """Write the images of a finished run to the directory `out` and return their number.

    The same run gives the same bytes. Tar and Parquet hold at most `per_shard` images a file.
    `out` appears whole or not at all; an earlier export there is replaced. It may be a URL: then
    the files appear one by one, the card last, and what a larger export left is removed.

    Raises `InputError` for a run whose images have no negative labels yet or are damaged, and
    for a directory that holds other things.
    """
    if per_shard < 1:
        raise InputError(f"images in a shard: must be at least 1, not {per_shard}")
    out = as_path(out)
    _refuse_foreign(out)
    if isinstance(out, RemotePath):
        with TemporaryDirectory() as folder:
            count = export_images(run, Path(folder) / "export", form, per_shard)
            send_folder(Path(folder) / "export", str(out), last="README.md")
        return count
    document = _run_file(run)
    samples = read_samples(run, document["inputs"]["classes"])
    with replacing_directory(out) as part:
        WRITERS[form](part, samples, document["inputs"]["classes"], per_shard)
        write_text(part / "README.md", data_card(document, samples, form))
    return len(samples)


def read_samples(run: Path, class_names: list[str]) -> list[Sample]:
    """Return the synthetic images of a run in the order of its selection."""
    if not (run / "assign.jsonl").exists():
        raise InputError(
            f"{run}: its images are not all synthesized and encoded yet; let `synood fit` finish"
        )
    try:
        assigned = {row["id"]: row["prompt"] for row in read_jsonl(run / "assign.jsonl")}
        chosen = {row["id"]: row for row in read_jsonl(run / "select.jsonl")}
        made = {one.id: one for one in read_synthetic(run / "synthesize").values()}
        return [
            Sample(
                made[image_id],
                chosen[image_id]["label"],
                class_names.index(chosen[image_id]["label"]),
                negative,
                chosen[image_id]["sha256"],
            )
            for image_id, negative in assigned.items()
        ]
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{run}: its files do not fit together ({error}); run `synood fit` again, which mends "
            "what is missing or damaged"
        ) from None


def _run_file(run: Path) -> dict[str, Any]:
    if not (run / "run.toml").is_file():
        problem = mistaken_for(run, "a run") or f"{readable(run)}: no run.toml there"
        raise InputError(f"{problem}; name the directory of a run of `synood fit`")
    try:
        document = tomllib.loads((run / "run.toml").read_text(encoding="utf-8"))
        _ = document["inputs"]["classes"], document["models"], document["versions"]
    except KeyError as error:
        raise InputError(f"{run}/run.toml: lacks {error}; run `synood fit` again") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{run}/run.toml: cannot be used ({error})") from None
    return document


_EXPORTED = re.compile(  # files of an export, in any format
    r"README\.md|metadata\.jsonl|imglist\.txt|[^/]+/[^/]+\.png"
    r"|pictures-\d+(?:-of-\d+)?\.(?:tar|parquet)"
)


def _refuse_foreign(out: Path) -> None:
    """Refuse a directory with files that no export made: replacing it would lose them."""
    if not out.exists():
        return
    card = out / "README.md"
    exported = card.is_file() and MARK.encode() in card.read_bytes()
    if isinstance(out, RemotePath):
        names = sorted(out.below())
    else:
        files = [file for file in sorted(out.rglob("*")) if not file.is_dir()]
        names = [file.relative_to(out).as_posix() for file in files]
    foreign = [name for name in names if not (exported and _EXPORTED.fullmatch(name))]
    if foreign or not out.is_dir():
        which = f" ({foreign[0]})" if foreign else ""
        raise InputError(f"{out}: holds other things{which}; name a new or an empty directory")
