"""Exported images on disk: each writer makes a directory that other tools open.

folder      folder/image.png for each class; metadata.jsonl, as Hugging Face's imagefolder wants
            it; imglist.txt, as OpenOOD wants it, where -1 stands for out-of-distribution
webdataset  tar shards of NNNNNN.png, .json and .cls, without times or owners
parquet     an image column of bytes and one column for each other field
"""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
from typing import TYPE_CHECKING, Any

from synood.errors import InputError
from synood.files import replacing, write_jsonl, write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from synood.pipeline.export.images import Sample

PER_SHARD = 1000  # images; of 512 pixels, half a gigabyte
OOD = -1  # OpenOOD's number for what belongs to no class
_KINDS: dict[str, Any] = {  # of the columns, as Hugging Face datasets name them
    "negative_label": "string", "prompt": "string", "energies": ["float64"],
    "losses": ["float64"], "source_energy": "float64", "stop": "string", "seed": "int64",
    "source": "string", "source_sha256": "string", "sha256": "string",
}  # fmt: skip


def write_folder(
    out: Path, samples: Sequence[Sample], class_names: Sequence[str], per_shard: int
) -> None:
    """Write a folder of PNG files per class, metadata.jsonl and imglist.txt."""
    folders = folder_names(class_names)
    rows = []
    for sample in samples:
        name = f"{folders[sample.class_number]}/{sample.image.path.name}"
        (out / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(sample.image.path, out / name)
        rows.append({"file_name": name, **sample.row})
    write_jsonl(out / "metadata.jsonl", rows)
    write_text(out / "imglist.txt", "".join(f"{row['file_name']} {OOD}\n" for row in rows))


def write_webdataset(
    out: Path, samples: Sequence[Sample], class_names: Sequence[str], per_shard: int
) -> None:
    """Write pictures-NNNNNN.tar; a sample is a .png, its row .json and its class number .cls."""
    for number, group in enumerate(_groups(samples, per_shard)):
        with (
            replacing(out / f"pictures-{number:06d}.tar") as part,
            tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as shard,
        ):
            for place, sample in enumerate(group, start=number * per_shard):
                text = json.dumps(sample.row, ensure_ascii=False)
                _add(shard, f"{place:06d}.png", sample.image.path.read_bytes())
                _add(shard, f"{place:06d}.json", text.encode())
                _add(shard, f"{place:06d}.cls", str(sample.class_number).encode())


def write_parquet(
    out: Path, samples: Sequence[Sample], class_names: Sequence[str], per_shard: int
) -> None:
    """Write pictures-NNNNN-of-NNNNN.parquet with the features that Hugging Face reads from it."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError("Parquet needs pyarrow: pip install 'synood[parquet]'") from None
    schema = _schema(pa, class_names)
    count = -(-len(samples) // per_shard)
    for number, group in enumerate(_groups(samples, per_shard)):
        rows = [_parquet_row(sample) for sample in group]
        with replacing(out / f"pictures-{number:05d}-of-{count:05d}.parquet") as part:
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), part)


WRITERS: dict[str, Callable[[Path, Sequence[Sample], Sequence[str], int], None]] = {
    "folder": write_folder,
    "webdataset": write_webdataset,
    "parquet": write_parquet,
}


def folder_names(class_names: Sequence[str]) -> list[str]:
    """Return a folder name for each class: letters, digits and `_-.` alone, no two alike.

    >>> folder_names(["red panda", "a/b", "a b", "..."])
    ['red_panda', 'a_b', 'a_b_2', '_']
    """
    folders: list[str] = []
    taken: set[str] = set()
    for number, name in enumerate(class_names):
        plain = re.sub(r"[^\w.-]+", "_", name.strip()).strip(".") or "_"
        folder = plain
        while folder.casefold() in taken:
            folder = f"{folder}_{number}"
        taken.add(folder.casefold())
        folders.append(folder)
    return folders


def _groups(samples: Sequence[Sample], size: int) -> Iterator[Sequence[Sample]]:
    for first in range(0, len(samples), size):
        yield samples[first : first + size]


def _add(shard: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file that says nothing of when, where and by whom it was written."""
    member = tarfile.TarInfo(name)  # time 0, owner 0, rights 0644
    member.size = len(data)
    shard.addfile(member, io.BytesIO(data))


def _parquet_row(sample: Sample) -> dict[str, Any]:
    row = sample.row
    number = row.pop("class_number")
    path = sample.image.path
    return {"image": {"bytes": path.read_bytes(), "path": path.name}, **row, "class": number}


def _schema(pa: Any, class_names: Sequence[str]) -> Any:  # noqa: ANN401 - pyarrow is optional
    """Columns, and the same in the words of Hugging Face, which makes images of the bytes."""
    kinds = {"string": pa.string(), "float64": pa.float64(), "int64": pa.int64()}
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = [("image", image), ("class", pa.int64())]
    features: dict[str, Any] = {
        "image": {"_type": "Image"},
        "class": {"names": list(class_names), "_type": "ClassLabel"},
    }
    for name, kind in _KINDS.items():
        single = kind if isinstance(kind, str) else kind[0]
        value = {"dtype": single, "_type": "Value"}
        several = not isinstance(kind, str)
        columns.append((name, pa.list_(kinds[single]) if several else kinds[single]))
        features[name] = {"feature": value, "_type": "List"} if several else value
    info = json.dumps({"info": {"features": features}})
    return pa.schema(columns, metadata={"huggingface": info})
