"""Every system that SynOOD is compared with: a module for each, with one interface."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from synood.errors import InputError

if TYPE_CHECKING:
    from synood.benchmark.protocol.system import StreamSystem, System

MODULES = (
    *("msp", "maxlogit", "energy", "kl_matching", "openmax", "gen", "odin", "gradnorm"),
    *("react", "dice", "ash", "scale", "rankfeat"),
    *("knn", "vim", "mahalanobis", "cosine", "rbf", "she", "nnguide", "fdbd", "fssd", "subspaces"),
    "encoder_features",
    *("mcm", "neglabel", "csp", "negrefine", "interneg", "gl_mcm", "zoc", "eoe", "fort"),
    *("adaneg", "tanl", "oodd", "interneg_stream", "ants", "tins"),
    *("coop", "locoop", "cocoop", "lsn", "clipn", "negprompt", "idlike", "localprompt"),
    *("augmix", "vos", "npos", "lapt"),
    *("winkens", "hvcm", "tagood", "dreamood", "synood"),
)
"""In the order of the tables: classifiers' scores, distances in their features, the same and a head
in the encoder's, names, streams, trained systems."""


def registry() -> tuple[System | StreamSystem, ...]:
    """Return all systems in the order of the tables, SynOOD last."""
    systems: list[System | StreamSystem] = []
    for name in MODULES:
        systems += import_module(f"{__name__}.{name}").SYSTEMS
    return tuple(systems)


def find_system(name: str) -> System | StreamSystem:
    """Return the system called `name`; an unknown name is an `InputError` that lists them all."""
    known = {system.method.name: system for system in registry()}
    if name not in known:
        raise InputError(f"system {name!r} is unknown; use one of {', '.join(known)}")
    return known[name]
