"""How much memory a device has, how much was used at the most, and what running out looks like."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_KEPT = {-1: 256 * 2**20, -3: 32 * 2**20}  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc
_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of the container, where there is one
_WORDS = (  # of bare RuntimeErrors: what torch's allocator and oneDNN say on a CPU,
    *("can't allocate memory", "could not create a primitive"),
    # and what a GPU's driver and libraries say when they get none outside of torch's allocator
    *("CUDA error: out of memory", "HIP error: out of memory"),
    *("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"),
)


def total_memory(device: str) -> int:
    """Bytes that the device has in all: the accelerator's own, else the machine's or container's.

    Not what is free at the moment, so a choice made by it is the same in every run.
    """
    if _has_its_own(device):
        return int(torch.get_device_module(device).mem_get_info(device)[1])
    machine = _machine_memory()
    limit = _LIMIT.read_text().strip() if _LIMIT.is_file() else "max"
    return min(machine, int(limit)) if limit.isdecimal() else machine


def reset_peak(device: str) -> None:
    """Begin anew to note the most memory in use; the operating system's note cannot be reset."""
    if _has_its_own(device):
        torch.get_device_module(device).reset_peak_memory_stats(device)


def peak_memory(device: str) -> int:
    """Most bytes in use: of the accelerator since `reset_peak`, else of the process in its life.

    0 for a process on Windows, where the standard library does not tell.
    """
    if _has_its_own(device):
        return int(torch.get_device_module(device).max_memory_allocated(device))
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def keep_freed_memory() -> None:
    """Keep what is freed, up to 256 MiB, for what is asked for next; for processes of long work.

    glibc may give it back after every image and get it anew, page by page: with the embedded
    encoder a sixth of the time. Other C libraries, and what the environment says, are left alone.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in _KEPT.items():
            mallopt(option, value)


def _machine_memory() -> int:
    """Bytes of the machine's main memory."""
    if sys.platform == "win32":
        status = (ctypes.c_ulonglong * 8)()  # MEMORYSTATUSEX: its length and load share the first
        ctypes.cast(status, ctypes.POINTER(ctypes.c_ulong))[0] = ctypes.sizeof(status)
        ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
        return int(status[1])  # ullTotalPhys
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _has_its_own(device: str) -> bool:
    """Whether the device has memory besides the machine's."""
    return torch.device(device).type not in ("cpu", "mps")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)
    )


def free_memory() -> None:
    """Hand back what nobody holds any more, so that a smaller piece of work can have it."""
    gc.collect()
    if torch.accelerator.is_available():
        torch.get_device_module().empty_cache()


def unless_out_of_memory(work: Callable[[], T]) -> T | None:
    """Do `work` and return its result, or None if memory ran out; other errors are passed on.

    What the failed work held is free again then: the error that held it is gone.
    """
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    free_memory()
    return None


def largest_that_fits(fits: Callable[[int], bool], most: int) -> int:
    """Return the largest number from 1 to `most` that fits, found by trying; 0 if not even 1 does.

    Doubles until one does not fit, then halves the gap.

    >>> largest_that_fits(lambda number: number <= 11, most=100)
    11
    """
    low, high = 0, 1
    while high <= most and fits(high):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
