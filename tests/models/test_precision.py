"""Half precision on a CPU that only emulates it: the user is told before the work starts."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import warnings

import pytest
import torch

from synood.errors import EmulatedPrecisionWarning
from synood.models.precision import chosen_dtype, cpu_emulates

pytestmark = pytest.mark.numerical

HALF = ("bfloat16", "float16")
x86 = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="ONEDNN_MAX_CPU_ISA is of x86"
)


def answers(limit: str) -> list[bool]:
    """What `cpu_emulates` says of both half precisions below a limit of the instruction set."""
    code = (
        "import torch; from synood.models.precision import cpu_emulates as emulates;"
        "print(emulates(torch.bfloat16), emulates(torch.float16), emulates(torch.float32))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": limit},
    )
    return [word == "True" for word in done.stdout.split()]


@x86
def test_half_precision_is_emulated_without_avx512():
    assert answers("AVX2") == [True, True, False]


def test_single_and_double_precision_are_never_emulated():
    assert not cpu_emulates(torch.float32)
    assert not cpu_emulates(torch.float64)


@pytest.mark.parametrize("name", HALF)
def test_who_asks_for_an_emulated_precision_is_warned(name):
    dtype = getattr(torch, name)
    if not cpu_emulates(dtype):
        pytest.skip(f"this CPU computes in {name}")
    with pytest.warns(EmulatedPrecisionWarning, match=f"dtype {name}: .*use dtype=auto"):
        assert chosen_dtype(name, "cpu") == dtype
    with pytest.warns(EmulatedPrecisionWarning, match=f"dtype {name}: .*use dtype=auto"):
        assert chosen_dtype(dtype, torch.device("cpu")) == dtype


@pytest.mark.parametrize("name", ["auto", "float32"])
def test_single_precision_and_other_devices_give_no_warning(name):
    with warnings.catch_warnings(action="error"):
        chosen_dtype(name, "cpu")
        chosen_dtype("bfloat16", "cuda")
