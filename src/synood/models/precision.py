"""The precision that a part's weights are held in, by the name a bundle gives it."""

from __future__ import annotations

import torch

from synood.errors import InputError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def chosen_dtype(name: str | torch.dtype, device: str | torch.device) -> torch.dtype:
    """Return the precision of "float32", "bfloat16", "float16" or "auto" on a device.

    "auto" is bfloat16 on an accelerator that computes with it, float32 elsewhere: on a CPU half
    the memory would cost time. An unknown name is an `InputError`.

    >>> chosen_dtype("auto", "cpu")
    torch.float32
    """
    if isinstance(name, torch.dtype):
        return name
    if name == "auto":
        backend = getattr(torch, torch.device(device).type, None)
        has_it = getattr(backend, "is_bf16_supported", None)
        return torch.bfloat16 if has_it is not None and has_it() else torch.float32
    if name not in DTYPES:
        raise InputError(f"dtype {name!r}: is not one of auto, {', '.join(DTYPES)}")
    return DTYPES[name]
