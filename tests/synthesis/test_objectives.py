"""The objectives: by hand, their bounds, and what leaves them alone."""

from __future__ import annotations

from math import e, log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from synood.synthesis.objectives import (
    OBJECTIVES,
    energy,
    energy_hinge,
    msp_divergence,
    uniformity,
)

pytestmark = pytest.mark.numerical

OF_CLASSIFIERS = ("energy", "uniformity")  # the margin has test_margin.py


def test_energy_by_hand():
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [log(2), log(3), log(4), log(1)]])
    torch.testing.assert_close(energy(logits), torch.tensor([-log(4), -log(10)]))
    torch.testing.assert_close(
        energy(torch.tensor([[2 * log(2), 2 * log(3)]]), 2.0), torch.tensor([-2 * log(5)])
    )


def test_energy_hinge_by_hand():
    logits = torch.tensor([[log(2), log(3)], [log(0.5), log(0.5)], [10.0, 10.0]])
    expected = torch.tensor([(1 + log(5)) ** 2, 1.0, (1 + 10 + log(2)) ** 2])
    torch.testing.assert_close(energy_hinge(logits, 1.0), expected)
    assert energy_hinge(logits[1:2], -0.5).item() == 0  # its energy is 0, above the margin


def test_lowering_the_hinge_raises_the_energy():
    logits = torch.tensor([[4.0, 1.0, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(energy_hinge(logits, 0.0).sum(), logits)
    assert energy(logits - 0.01 * gradient) > energy(logits)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_msp_is_one_number_and_its_gradient_is_zero(classes):
    """As the authors call torch: probabilities where logarithms belong (get_loss, "msp")."""
    drawn = torch.randn(6, classes, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    logits = (20 * drawn).requires_grad_()
    losses = msp_divergence(logits)
    expected = -(log(classes) + 1 / classes) / classes
    torch.testing.assert_close(losses, torch.full_like(losses, expected))
    (gradient,) = torch.autograd.grad(losses.sum(), logits)
    assert gradient.abs().max() < 1e-15
    shares = torch.softmax(logits, dim=1)
    whole = torch.full((classes,), 1 / classes, dtype=torch.float64)
    theirs = functional.kl_div(shares, whole, reduction="none").mean()
    torch.testing.assert_close(losses.mean(), theirs)


def test_uniformity_by_hand():
    logits = torch.tensor([[0.0, log(3)]])  # probabilities 1/4 and 3/4
    mean = (log(1 / 4) + log(3 / 4)) / 2
    torch.testing.assert_close(uniformity(logits, -5.0), torch.tensor([(-5 - mean) ** 2]))
    cooled = uniformity(logits / 3, -5.0, temperature=1 / 3)
    torch.testing.assert_close(cooled, uniformity(logits, -5.0))


def test_uniformity_is_least_at_the_uniform_prediction_of_a_thousand_classes():
    assert uniformity(torch.zeros(1, 1000)).item() == pytest.approx((log(1000) - 5) ** 2)
    assert (log(1000) - 5) ** 2 == pytest.approx(3.640, abs=1e-3)


@settings(max_examples=50)
@given(
    classes=st.integers(int(e**5) + 1, 400),
    shift=st.floats(-20, 20),
    scale=st.floats(0, 30),
    seed=st.integers(0, 2**16),
)
def test_uniformity_never_falls_below_its_bound_and_ignores_a_shift(classes, shift, scale, seed):
    draws = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(1, classes, generator=draws, dtype=torch.float64)
    loss = uniformity(logits).item()
    assert loss >= (log(classes) - 5) ** 2 - 1e-9
    assert uniformity(logits + shift).item() == pytest.approx(loss, rel=1e-9)


@settings(max_examples=50)
@given(shift=st.floats(-5, 5), temperature=st.floats(0.5, 4), seed=st.integers(0, 2**16))
def test_energy_follows_a_shift_of_the_logits(shift, temperature, seed):
    draws = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 5, generator=draws, dtype=torch.float64)
    torch.testing.assert_close(
        energy(logits + shift, temperature), energy(logits, temperature) - shift
    )


@pytest.mark.parametrize("name", OF_CLASSIFIERS)
def test_objectives_survive_huge_logits(name):
    logits = torch.tensor([[3e4, -3e4, 0.0]], requires_grad=True)
    loss = OBJECTIVES[name](logits, -5.0, 1.0)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert torch.isfinite(loss).all()
    assert torch.isfinite(gradient).all()
