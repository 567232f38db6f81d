"""Each test runs on the processor and, where there is one, on the accelerator."""

import pytest
import torch


@pytest.fixture(params=["cpu", "accelerator"], scope="module")
def device(request):
    """Name of the device under test."""
    if request.param == "cpu":
        return "cpu"
    if not torch.accelerator.is_available():
        pytest.skip("torch sees no accelerator on this machine")
    return torch.accelerator.current_accelerator().type


@pytest.fixture(autouse=True)
def _whole_single_precision(monkeypatch):
    """Convolutions round to TF32 by default on Ampere and later; here devices are compared."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
