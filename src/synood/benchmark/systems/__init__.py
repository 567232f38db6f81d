"""Every system that SynOOD is compared with, on one interface; a module for each family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.errors import InputError

if TYPE_CHECKING:
    from synood.benchmark.protocol.system import StreamSystem, System


def registry() -> tuple[System | StreamSystem, ...]:
    """All systems in the order of the tables: classifiers' scores first, SynOOD last."""
    from synood.benchmark.systems import adaneg as streams
    from synood.benchmark.systems import cocoop as conditioned
    from synood.benchmark.systems import (
        described,
        distances,
        gradients,
        logits,
        names,
        negatives,
        outliers,
        prompts,
        shaping,
        synood,
    )
    from synood.benchmark.systems import dreamood as dreamed
    from synood.benchmark.systems import gl_mcm as places
    from synood.benchmark.systems import tanl as activated

    untrained = (logits, gradients, shaping, distances, names, places, described)
    trained = (prompts, conditioned, negatives, outliers, dreamed, synood)
    families = (*untrained, streams, activated, *trained)
    systems: list[System | StreamSystem] = []
    for family in families:
        systems += family.SYSTEMS
    return tuple(systems)


def find_system(name: str) -> System | StreamSystem:
    """Return the system called `name`; an unknown name is an `InputError` that lists them."""
    known = {system.method.name: system for system in registry()}
    if name not in known:
        raise InputError(f"system {name!r}: not known; there are {', '.join(known)}")
    return known[name]
