"""Choosing the device that models run on."""

from __future__ import annotations

from synood.errors import InputError


def pick_device(name: str) -> str:
    """Return `name`, or for "auto" the machine's accelerator if it has one, else the CPU.

    Raises `InputError` for a device that torch does not know or this machine does not have.
    """
    if name == "cpu":
        return name
    import torch

    found = torch.accelerator.is_available() and torch.accelerator.current_accelerator()
    present = ["cpu", found.type] if found else ["cpu"]
    if name == "auto":
        return present[-1]
    if name.partition(":")[0] not in present:
        raise InputError(f"device {name!r}: not on this machine; use {' or '.join(present)}")
    return name
