"""Out-of-distribution detection tuned on synthesized near-boundary images (SynOOD, ICCV 2025)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synood.detector import OODDetector
    from synood.errors import CheckpointError, InputError, SynoodError
    from synood.metrics import ood_metrics

__version__ = "0.1.0"
__all__ = ["CheckpointError", "InputError", "OODDetector", "SynoodError", "ood_metrics"]

_HOMES = {
    "OODDetector": "synood.detector",
    "ood_metrics": "synood.metrics",
    "CheckpointError": "synood.errors",
    "InputError": "synood.errors",
    "SynoodError": "synood.errors",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that `import synood` loads no torch."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'synood' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, also those that are not imported yet."""
    return sorted({*globals(), *__all__})
