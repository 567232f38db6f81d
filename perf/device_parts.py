"""The parts of perf/device.py, each a process that prints what it measures line by line.

    PYTHONPATH=src python perf/device_parts.py PART [--toy] [--device NAME]

The report of perf/device.sh holds what they print.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import tempfile
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import random_painters
import torch
from device_encoding import encoding
from device_painting import painting
from device_place import GIGABYTE, Place, head, row, say
from device_tuning import tuning

from synood.models.device import pick_device
from synood.models.memory import total_memory

if TYPE_CHECKING:
    from collections.abc import Callable


def name(place: Place) -> None:
    """The device's name and kind, for the report's own."""
    say(f"{device_name(place.device)}|{torch.device(place.device).type}")


def device_name(device: str) -> str:
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine() if device == "cpu" else device


def about(place: Place) -> None:
    say("")
    head("", "")
    row("device", f"{device_name(place.device)}, {total_memory(place.device) / GIGABYTE:.0f} GB")
    row("driver", driver(place.device))
    row("torch", torch.__version__)
    row("diffusers, transformers", f"{version('diffusers')}, {version('transformers')}")
    row("Python, system", f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    row("processor cores", os.cpu_count())
    row("commit", commit())
    if torch.device(place.device).type == "cuda":
        convolutions = torch.backends.cudnn.allow_tf32
        row("TF32 in convolutions, products",
            f"{convolutions}, {torch.backends.cuda.matmul.allow_tf32}")  # fmt: skip


def driver(device: str) -> str:
    """Return the driver's version and the runtime that torch was built for."""
    if torch.device(device).type != "cuda":
        return "-"
    runtime = torch.version.hip or torch.version.cuda
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return f"runtime {runtime}"
    query = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    found = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()
    return f"{found[0] if found else 'unknown'}, runtime {runtime}"


def commit() -> str:
    """Return the working tree's commit, "-" outside a repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return "-"
    return done.stdout.strip() or "-"


PARTS: dict[str, Callable[[Place], None]] = {
    "name": name,
    "about": about,
    "stable-diffusion": partial(painting, random_painters.stable_diffusion),
    "z-image": partial(painting, random_painters.z_image),
    "encoding": encoding,
    "tuning": tuning,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--until", type=float, default=time.time() + 120)
    given = parser.parse_args()
    # some seconds are left for the end of the process
    end = time.perf_counter() + given.until - time.time() - 5
    with tempfile.TemporaryDirectory() as folder:
        PARTS[given.part](Place(pick_device(given.device), given.toy, end, Path(folder)))


if __name__ == "__main__":
    main()
