"""CPU time of other processes, from Linux's /proc."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")
MISSING = "Linux's /proc"


def can_be_watched() -> bool:
    """Whether this system tells the CPU time of other processes here."""
    return (PROC / "self" / "stat").exists()


def family_seconds(pid: int) -> float:
    """Seconds of CPU of a process and of all that descend from it and run now."""
    found: dict[int, tuple[int, float]] = {}
    for place in sorted(PROC.iterdir()):
        if place.name.isdigit():
            try:
                fields = (place / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended
                continue
            found[int(place.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    family, grows = {pid}, True
    while grows:
        more = {one for one, (parent, _) in found.items() if parent in family} - family
        family |= more
        grows = bool(more)
    ticks = sum(found[one][1] for one in family if one in found)
    return ticks / os.sysconf("SC_CLK_TCK")
