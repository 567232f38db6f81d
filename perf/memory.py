"""Peak memory of `synood score` as a folder grows: small PNGs, bundle mini.

python perf/memory.py 1000 10000 100000. The first 2,000 images have pixels of their own, and the
rest are links to these, so that a large folder is scored in a minute; --distinct N takes others.
Each size is scored by a process of its own; MB and seconds of CPU are that process's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

A_FOLDER = 1_000  # images
LABELS = ["lamp", "bridge", "teapot", "anchor"]


def place_of(folder: Path, number: int) -> Path:
    """Return where an image lies: a thousand are in a folder."""
    return folder / f"{number // A_FOLDER:04}" / f"{number:06}.png"


def write_images(folder: Path, first: int, end: int, distinct: int) -> None:
    """Write the images of these numbers; those from `distinct` on are links to earlier ones."""
    for number in range(first, end):
        path = place_of(folder, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        if number >= distinct:
            path.hardlink_to(place_of(folder, number % distinct))
            continue
        pixels = np.random.default_rng(number).integers(0, 256, (4, 6, 3), dtype=np.uint8)
        small = Image.fromarray(pixels).resize((24, 16), Image.Resampling.BICUBIC)
        small.save(path, compress_level=1)


def run(*command: str | Path) -> tuple[float, float]:
    """Run synood; return its peak resident memory in MB and its seconds of CPU.

    A process counts the peak of the one that started it as its own, so this one imports no torch.
    """
    words = [sys.executable, "-m", "synood", *map(str, command)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"synood {command[0]} left with {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss in bytes
    return used.ru_maxrss * unit / 1e6, used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", type=int, nargs="+", help="numbers of images, e.g. 1000 10000")
    parser.add_argument("--distinct", type=int, default=2_000, help="images with other pixels")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, made = Path(name), 0
        os.environ["SYNOOD_CACHE"] = str(folder / "cache")
        detector, out = folder / "detector", folder / "scores.jsonl"
        (folder / "names.txt").write_text("panda\nlighthouse\n")
        (folder / "labels.txt").write_text("\n".join(LABELS))
        labels = ["--negatives", folder / "labels.txt", "--models", "mini"]
        run("zero-shot", "--classes", folder / "names.txt", *labels, "--out", detector)
        print(f"{'images':>8} {'distinct':>8} {'peak MB':>8} {'CPU s':>7}")
        for size in sorted(given.sizes):
            write_images(folder / "images", made, size, given.distinct)
            made = size
            form = ["--format", "jsonl", "--out", out, "--overwrite"]
            peak, seconds = run("score", detector, folder / "images", *form)
            with out.open() as lines:
                assert sum(1 for _ in lines) == size
            print(
                f"{size:>8} {min(size, given.distinct):>8} {peak:>8.0f} {seconds:>7.1f}", flush=True
            )


if __name__ == "__main__":
    main()
