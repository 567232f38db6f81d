"""Reading an imglist of ImageNet's size: python perf/imglist.py.

Compared with a record object per line, as this project did at first, and with OpenOOD's data set
(openood/datasets/imglist_dataset.py), which keeps the lines as text and evaluates a label each time
an image is requested. Time is CPU time; memory is the growth of the peak resident size, each side
in its own process.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from side_by_side import compare

from synood.images.imglist import read_imglist

LINES = 1_281_167
CLASSES = tuple(f"class {number}" for number in range(1000))


@dataclass(frozen=True, slots=True)
class Record:
    id: str
    path: Path
    label: str | None


def write_list(path: Path) -> None:
    """Paths as ImageNet's: imagenet_1k/train/nXXXXXXXX/nXXXXXXXX_N.JPEG and a class number."""
    rng = np.random.default_rng(0)
    wnids = 1_440_764 + np.sort(rng.choice(13_000_000, 1000, replace=False))
    with path.open("w") as file:
        for row in range(LINES):
            number = row * 1000 // LINES
            wnid = f"n{wnids[number]:08d}"
            file.write(f"imagenet_1k/train/{wnid}/{wnid}_{row}.JPEG {number}\n")


def ours(path: Path) -> object:
    return read_imglist(path, Path("data"), CLASSES)


def one_by_one(path: Path) -> object:
    records = []
    seen: set[str] = set()
    for line in path.read_bytes().decode("utf-8", "surrogateescape").split("\n"):
        if line.strip():
            name, _, number = line.strip().rpartition(" ")
            if name in seen:
                raise ValueError(name)
            seen.add(name)
            records.append(Record(name, Path("data") / name, CLASSES[int(number)]))
    return tuple(records)


def openood(path: Path) -> object:
    with path.open() as file:
        return file.readlines()


def openood_with_labels(path: Path) -> object:
    """What a pass over OpenOOD's data set spends on lines alone."""
    lines = openood(path)
    return [ast.literal_eval(line.strip("\n").split(" ", 1)[1]) for line in lines]  # type: ignore[attr-defined]


SIDES = {
    "synood": ours,
    "a record object a line": one_by_one,
    "OpenOOD: readlines": openood,
    "OpenOOD: readlines, each label": openood_with_labels,
}


def peak(side: str, path: Path) -> float:
    """Return by how many MiB the greatest resident size grows; run in a process of its own."""
    before = greatest_size()
    kept = SIDES[side](path)
    assert len(getattr(kept, "records", kept)) == LINES
    return (greatest_size() - before) / 1024


def greatest_size() -> int:
    """Return this process's greatest resident size in KiB; Linux tells."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory_of:
        print(peak(given.memory_of[0], Path(given.memory_of[1])))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train_imagenet.txt"
        write_list(path)
        first, last = ours(path).records[0], ours(path).records[-1]
        twin = one_by_one(path)
        assert (first.id, first.label, last.id, last.label) == (
            twin[0].id, twin[0].label, twin[-1].id, twin[-1].label,
        )  # fmt: skip
        del twin
        peers = {name: lambda side=side: side(path) for name, side in SIDES.items() if side != ours}
        compare(f"imglist of {LINES:,} lines", lambda: ours(path), peers, given.runs)
        print("memory, MiB")
        for side in SIDES:
            words = [sys.executable, __file__, "--memory-of", side, str(path)]
            grown = subprocess.run(words, check=True, capture_output=True, text=True).stdout
            print(f"  {side:<34} {float(grown):9.1f}")


if __name__ == "__main__":
    main()
