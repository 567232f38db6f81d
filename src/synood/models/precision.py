"""The precision of a part's weights, by its name in a bundle."""

from __future__ import annotations

import warnings

import torch

from synood.errors import EmulatedPrecisionWarning, InputError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def chosen_dtype(name: str | torch.dtype, device: str | torch.device) -> torch.dtype:
    """Return the precision of "float32", "bfloat16", "float16" or "auto" on a device.

    "auto" is bfloat16 on an accelerator that computes with it, float32 elsewhere: on a CPU half
    the memory would cost time. An unknown name is an `InputError`; a precision that this CPU only
    emulates is an `EmulatedPrecisionWarning`.

    >>> chosen_dtype("auto", "cpu")
    torch.float32
    """
    kind = torch.device(device).type
    if name == "auto":
        has_it = getattr(getattr(torch, kind, None), "is_bf16_supported", None)
        return torch.bfloat16 if has_it is not None and has_it() else torch.float32
    if not isinstance(name, torch.dtype) and name not in [*DTYPES]:
        raise InputError(f"dtype {name!r}: is not one of auto, {', '.join(DTYPES)}")
    dtype = DTYPES[name] if isinstance(name, str) else name
    if kind == "cpu" and cpu_emulates(dtype):
        label = str(dtype).removeprefix("torch.")
        warnings.warn(
            f"dtype {label}: this CPU only emulates {label}, which takes 3 to 300 times as long as "
            "float32; use dtype=auto or float32",
            EmulatedPrecisionWarning,
            stacklevel=2,
        )
    return dtype


def cpu_emulates(dtype: torch.dtype) -> bool:
    """Return whether this CPU has no instructions that compute in half precision `dtype`.

    oneDNN, which computes torch's convolutions, answers for the processor and for the limits set
    by ONEDNN_MAX_CPU_ISA. To it AVX-512 is enough for bfloat16, although without AVX512_BF16 or
    AMX the numbers are converted to float32 and back.
    """
    if dtype not in (torch.bfloat16, torch.float16):
        return False
    onednn, cpu = torch.ops.mkldnn, torch.cpu
    if dtype == torch.float16:
        return not onednn._is_mkldnn_fp16_supported()
    native = cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported()
    converted = cpu._is_avx512_supported() and not native
    return converted or not onednn._is_mkldnn_bf16_supported()
